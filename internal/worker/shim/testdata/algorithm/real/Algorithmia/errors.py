class DataApiError(Exception):
    pass


class AlgorithmException(Exception):
    pass
