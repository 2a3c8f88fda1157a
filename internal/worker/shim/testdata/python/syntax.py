def handler(event):
    return (1,
    x = 3
