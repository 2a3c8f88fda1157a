import runnel


def handler(event):
    return runnel.MINE
