def handler(event, context):
    return ["pkg", event]
