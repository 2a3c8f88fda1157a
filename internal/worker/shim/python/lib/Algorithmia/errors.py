class ApiError(Exception):
    """An error of the API."""


class ApiInternalError(ApiError):
    """The server could not do it; its fault."""


class DataApiError(ApiError):
    """An error of a file or a directory."""


class AlgorithmException(ApiError):
    """The algorithm that was called failed."""

    def __init__(self, message, stack_trace=None, error_type=None):
        super().__init__(message)
        self.message = message
        self.stack_trace = stack_trace
        self.error_type = error_type
