"""E-mail (.eml): the subject as the title, who wrote to whom and when, the text; attachments only by name."""

import email
import email.policy
from email.message import EmailMessage

from mainspring.data.parse import plain
from mainspring.data.parse.base import Parsed, Piece, Raw, assemble, decode
from mainspring.data.parse.encoding import declared_by_page
from mainspring.data.parse.webpage import page_pieces
from mainspring.errors import DocumentError

SHOWN_HEADERS = ("From", "To", "Cc", "Date")


def read(raw: Raw) -> Parsed:
    """One message; of its text, the plain form if there is one.

    Raises:
        DocumentError: no message, or text in an encoding that it does not have.

    """
    message = email.message_from_bytes(raw.data, policy=email.policy.default)
    if not any(message[name] for name in ("Subject", *SHOWN_HEADERS)):
        raise DocumentError(f"{raw.name} is no e-mail (it has no subject and no sender). Leave it out.")
    subject = " ".join(str(message["Subject"] or "").split())
    headers = [f"{name}: {message[name]}" for name in SHOWN_HEADERS if message[name]]
    named = [part.get_filename() for part in message.walk() if part.get_filename()]
    found = [
        *([Piece(kind="heading", text=subject, level=1)] if subject else []),
        Piece(kind="paragraph", text="\n".join(headers)),
        *_body(message, raw.name),
        *([Piece(kind="paragraph", text=f"Attachments: {', '.join(map(str, named))}")] if named else []),
    ]
    return assemble(found, raw.name)


def _body(message: EmailMessage, name: str) -> list[Piece]:
    part = message.get_body(("plain", "html"))
    if part is None:
        return []
    data = part.get_payload(decode=True)
    declared = part.get_content_charset() or ""
    if not isinstance(data, bytes) or not data.strip():
        return []
    if part.get_content_type() == "text/html":
        return page_pieces(decode(data, name, declared or declared_by_page(data)), name)[0]
    return plain.pieces(decode(data, name, declared))
