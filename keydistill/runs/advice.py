"""What to do about an error of Redis."""

import re


def redis_advice(error: BaseException) -> str:
    """What to do about an error of Redis' client.

    >>> redis_advice(OSError("Connection refused"))
    'see that it runs, then go on'
    >>> redis_advice(PermissionError("invalid username-password pair or user is disabled."))
    'see that redis_url has its password, with a % in it as %25 and an @ as %40'
    """
    text = str(error).lower()
    if re.search("wrongpass|username-password|noauth|noperm|invalid password|authentication", text):
        return "see that redis_url has its password, with a % in it as %25 and an @ as %40"
    if "certificate" in text and "required" in text:
        return "it asks for a certificate: set redis_client_certificate and redis_client_key"
    if "certificate" in text:
        return "set redis_ca_certificate to the file of the CA that signed its certificate, and name it as that does"
    if "ssl" in text:
        return "see that both sides speak TLS: rediss:// in redis_url, and the server's TLS port"
    return "see that it runs, then go on"
