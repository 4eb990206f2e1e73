"""The first words of a name node that wants Kerberos, for machines without one."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# The numbers of fields in the messages RpcResponseHeaderProto, RpcSaslProto and its SaslAuth.
_CALL_ID, _STATUS, _STATE, _AUTHS = 1, 2, 2, 4
_METHOD, _MECHANISM, _PROTOCOL, _SERVER = 1, 2, 3, 4
_SUCCESS, _NEGOTIATE = 0, 1
# The id of calls that negotiate is -33, as 32 bits, seven in each byte.
_NEGOTIATING = b"\xdf\xff\xff\xff\x0f"


@contextmanager
def asks_for_kerberos() -> Iterator[str]:
    """Give the address of a server that offers each client a delegation token or Kerberos."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Negotiates) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Negotiates(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(4096)
        answer = _answer()
        self.request.sendall(struct.pack(">I", len(answer)) + answer)
        # Until the client goes.
        while self.request.recv(4096):
            pass


def _answer() -> bytes:
    header = bytes([_CALL_ID << 3]) + _NEGOTIATING + bytes([_STATUS << 3, _SUCCESS])
    offers = (("TOKEN", "DIGEST-MD5", "", "default"), ("KERBEROS", "GSSAPI", "nn", "localhost"))
    body = bytes([_STATE << 3, _NEGOTIATE])
    for offer in offers:
        numbers = (_METHOD, _MECHANISM, _PROTOCOL, _SERVER)
        words = [_text(n, word.encode()) for n, word in zip(numbers, offer, strict=True)]
        body += _text(_AUTHS, b"".join(words))
    return bytes([len(header)]) + header + bytes([len(body)]) + body


def _text(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content
