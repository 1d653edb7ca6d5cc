"""The node's error classes, split by who has to act. Every error carries a short stable `code`.

`CallerError` is a bug in this program, `PeerError` means the other side sent what it may not
send, `LinkError` means try again later. Nobody parses a message: `code` is the interface, and
`detail` is a small integer or text for the log.
"""


class CodedError(Exception):
    """Base: `code` is stable, `detail` is for people."""

    def __init__(self, code: str, detail: object = None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class CallerError(CodedError):
    """The program broke a rule of the interface."""


class PeerError(CodedError):
    """The peer broke the protocol, or refused; the connection is to be closed."""


class LinkError(CodedError):
    """The link failed or could not be made; a later attempt may succeed."""
