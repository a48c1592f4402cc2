"""What an exception of a cloud's client means, and what a person can do about it.

Knows the error codes of S3 and GCS and the exceptions of their Python clients by name, without importing them; must not
know which operation failed. Codes: the "Error responses" pages of Amazon S3 and the JSON API of Google Cloud Storage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Trouble", "diagnose"]

_TRANSIENT_STATUS = {408, 409, 425, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_NO_BUCKET = {"NoSuchBucket"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "InvalidToken"}
_WRONG_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "AuthFailure"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_NO_CREDENTIALS_TYPES = {
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
}
_EXPIRED_TYPES = {"RefreshError", "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"}
_TRANSIENT_TYPES = {
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectionClosedError",
    "HTTPClientError",
    "IncompleteRead",
    "IncompleteReadError",
    "ProxyError",
    "ResponseParserError",
    "ResponseStreamingError",
    "TransportError",
}
_UNREACHABLE_TYPES = {
    "ClientConnectorError",
    "ConnectTimeoutError",
    "ConnectionTimeoutError",
    "EndpointConnectionError",
    "gaierror",
}
_CREDENTIALS = (
    "for S3 set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`; for GCS run "
    "`gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
)


class Trouble(NamedTuple):
    """An exception, read: its HTTP status and service's code where it has them, its class names, its text."""

    status: int | None
    code: str
    types: frozenset[str]
    text: str

    @property
    def absent(self) -> bool:
        """Whether it says that there is no such object."""
        if self.code in _NO_BUCKET:
            return False
        return self.status == 404 or self.code in {"NoSuchKey", "404"} or "FileNotFoundError" in self.types

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed when it is repeated."""
        if self.types & (_NO_CREDENTIALS_TYPES | _EXPIRED_TYPES):
            return False
        if self.status in _TRANSIENT_STATUS or self.code in _TRANSIENT_CODES:
            return True
        return bool(self.types & (_TRANSIENT_TYPES | _UNREACHABLE_TYPES | {"TimeoutError", "ConnectionError"}))

    def advice(self, what: str, place: str) -> str:
        """Say what is wrong and what to do; `place` names the bucket and its endpoint."""
        if self.code in _NO_BUCKET or self.absent:
            return f"there is no {place}: create the bucket, or check its name, region and endpoint"
        return self._about_credentials(place) or self._about_access(what, place) or self.text

    def _about_credentials(self, place: str) -> str | None:
        if self.code in _EXPIRED or self.types & _EXPIRED_TYPES:
            return f"the credentials have expired: log in again ({self.text})"
        if self.types & _NO_CREDENTIALS_TYPES:
            return f"no credentials were found: {_CREDENTIALS} ({self.text})"
        if self.code in _WRONG_CREDENTIALS or self.status == 401:
            return f"the credentials are not valid for {place}: {_CREDENTIALS} ({self.text})"
        return None

    def _about_access(self, what: str, place: str) -> str | None:
        if self.code == "RequestTimeTooSkewed":
            return f"this machine's clock is wrong: set it and try again ({self.text})"
        if self.code in _WRONG_REGION or self.status == 301:
            return f"{place} is in another region or at another endpoint: set it in storage_options ({self.text})"
        if (
            self.status == 403
            or self.code == "AccessDenied"
            or "PermissionError" in self.types
            or self.text.startswith("Forbidden")
        ):
            return f"permission denied: the credentials in use may not {what} in {place} ({self.text})"
        if self.types & _UNREACHABLE_TYPES:
            return f"{place} does not answer: check the endpoint and the network ({self.text})"
        if self.transient:
            return f"{place} is busy or the connection broke ({self.text})"
        return None


def diagnose(error: BaseException) -> Trouble:
    """Read an exception and what caused it, the innermost fact winning."""
    status: int | None = None
    code = ""
    types: set[str] = set()
    text = ""
    for cause in _chain(error):
        types.update(kind.__name__ for kind in type(cause).__mro__)
        text = text or " ".join(str(cause).split())[:300]
        response = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore's ClientError
            code = str(response.get("Error", {}).get("Code", "")) or code
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") or status
        for name in ("status", "code"):  # aiohttp's and gcsfs's
            if status is not None:
                break
            value = getattr(cause, name, None)
            if isinstance(value, str) and value.isdigit():
                value = int(value)
            if status is None and isinstance(value, int) and 300 <= value < 600:
                status = value
    if status is None and code.isdigit():
        status = int(code)
    return Trouble(status, code, frozenset(types), text or type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
