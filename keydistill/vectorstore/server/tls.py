"""TLS to a Qdrant server: who its certificate must be signed by, and the certificate that it asks its clients for."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.errors import SettingsError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files of certificates, each with the setting that names it.

    Attributes:
        ca: `qdrant_ca_certificate`; None for those that clients trust anyway.
        certificate: `qdrant_client_certificate`.
        key: `qdrant_client_key`; None where the file of the certificate has it.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def client_options(self) -> dict[str, Any]:
        """Arguments for `QdrantClient`, whose REST and gRPC take the same files in different ways.

        Raises:
            SettingsError: A file cannot be read, or holds no certificate or key.
        """
        if self == TlsFiles():
            return {}
        if self.key is not None and self.certificate is None:
            raise SettingsError("setting 'qdrant_client_key' is set, but qdrant_client_certificate is not")
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
            grpc: dict[str, Any] = {}
            if self.ca is not None:
                grpc["root_certificates"] = self.ca.read_bytes()
            if self.certificate is not None:
                grpc["certificate_chain"] = self.certificate.read_bytes()
                grpc["private_key"] = (self.key or self.certificate).read_bytes()
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path is not None)
            raise SettingsError(
                f"the certificates of Qdrant cannot be read ({error.strerror or error}): {names}; expected PEM files "
                "in qdrant_ca_certificate, qdrant_client_certificate and qdrant_client_key"
            ) from None
        return {"verify": context, "grpc_options": grpc}
