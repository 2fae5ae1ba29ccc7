"""For tests against an emulator that ignores the condition of a put."""

from __future__ import annotations

from checkmaite_storage._gcs_client import GcsClient
from checkmaite_storage._gcs_http import GcsResponseError

__all__ = ["UnconditionalGcsClient"]


class UnconditionalGcsClient(GcsClient):
    """Looks whether an object is there before it puts one, and so **loses races**.

    Two writers of one key can both be told that they won, and the later one has replaced the object of the earlier.
    """

    def create(self, name: str, data: bytes, token: str, timeout: float) -> None:
        """Put an object if none was there a moment ago."""
        try:
            self.token(name, timeout)
        except GcsResponseError as error:
            if error.status != 404:
                raise
        else:
            raise GcsResponseError(412, "conditionNotMet", "there is an object of this name")
        super().create(name, data, token, timeout)
