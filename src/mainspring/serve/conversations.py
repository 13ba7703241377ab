"""/v1/conversations: what was said, item by item; responses go on from it and add to it.

A conversation is kept until its client deletes it. It is one row of the drawer, which is written anew with every
change: what a model can read in one prompt is little to write. `include` is read and changes nothing: the items
are told with all that is known of them.
"""

import contextlib
import time
from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.drawer import Drawer, LostError, new_id
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError, listing, page_of, respond, tenant_of
from mainspring.serve.fields import Metadata
from mainspring.serve.responses_body import Json, items_of
from mainspring.serve.stored import UpdateBody

KIND = "conversation"
MAX_ITEMS = 20  # that are sent at once


class ConversationBody(bodies.Body, frozen=True, kw_only=True):
    items: Annotated[tuple[Json, ...], Meta(max_length=MAX_ITEMS)] = ()
    metadata: Metadata | None = None


class ItemsBody(bodies.Body, frozen=True, kw_only=True):
    items: Annotated[tuple[Json, ...], Meta(min_length=1, max_length=MAX_ITEMS)]


class Conversations:
    """The endpoints of conversations, and what responses need of them."""

    def __init__(self, drawer: Drawer) -> None:
        self._drawer = drawer

    def routes(self) -> list[Route]:
        one = "/v1/conversations/{conversation}"
        return [
            Route("/v1/conversations", bodies.reading(ConversationBody, self.create), methods=["POST"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, bodies.reading(UpdateBody, self.update), methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/items", bodies.reading(ItemsBody, self.create_items), methods=["POST"]),
            Route(f"{one}/items", self.list_items, methods=["GET"]),
            Route(f"{one}/items/{{item}}", self.retrieve_item, methods=["GET"]),
            Route(f"{one}/items/{{item}}", self.delete_item, methods=["DELETE"]),
        ]

    def items(self, identity: str, tenant: str) -> list[Json]:
        """All that was said, the oldest first."""
        return self._drawer.get(KIND, identity, tenant)["items"]

    def add(self, identity: str, tenant: str, items: list[Json]) -> None:
        """Add what a response was asked and said, together."""
        with contextlib.suppress(LostError):  # its client has deleted it; the response stays
            self._drawer.change(KIND, identity, tenant, lambda kept: kept["items"].extend(items))

    def create(self, request: Request, body: ConversationBody) -> Response:
        """A conversation, with its first items where such are sent."""
        tenant, identity = tenant_of(request), new_id("conv_")
        items = items_of(body.items, new_id("resp_"), "items")
        check_new(items, [], "items")
        told = {"id": identity, "object": "conversation", "created_at": int(time.time())}
        told["metadata"] = body.metadata or {}
        self._drawer.put(KIND, identity, {"conversation": told, "items": items}, tenant=tenant)
        return respond(told)

    def retrieve(self, request: Request) -> Response:
        return respond(self._drawer.get(KIND, *_named(request))["conversation"])

    def update(self, request: Request, body: UpdateBody) -> Response:
        """Other metadata in place of what was there."""

        def change(kept: Json) -> None:
            kept["conversation"]["metadata"] = body.metadata or {}

        return respond(self._drawer.change(KIND, *_named(request), change)["conversation"])

    def delete(self, request: Request) -> Response:
        """Forget a conversation with its items; responses that belong to it stay."""
        identity, tenant = _named(request)
        self._drawer.delete(KIND, identity, tenant)
        return respond({"id": identity, "object": "conversation.deleted", "deleted": True})

    def create_items(self, request: Request, body: ItemsBody) -> Response:
        """Items behind those that are there."""
        items = items_of(body.items, new_id("resp_"), "items")

        def change(kept: Json) -> None:
            check_new(items, kept["items"], "items")
            kept["items"] += items

        self._drawer.change(KIND, *_named(request), change)
        return respond(listing(items, has_more=False))

    def list_items(self, request: Request) -> Response:
        """What was said, a page at a time."""
        return respond(page_of(request, self.items(*_named(request))))

    def retrieve_item(self, request: Request) -> Response:
        return respond(_find(self.items(*_named(request)), request))

    def delete_item(self, request: Request) -> Response:
        """Take an item out; the answer is the conversation."""

        def change(kept: Json) -> None:
            kept["items"].remove(_find(kept["items"], request))

        return respond(self._drawer.change(KIND, *_named(request), change)["conversation"])


def check_new(items: list[Json], there: list[Json], place: str) -> None:
    """Raise FieldError for an item whose id is taken: an item is found, and deleted, by its id."""
    taken = {item["id"] for item in there}
    for index, item in enumerate(items):
        if item["id"] in taken:
            raise FieldError(
                f"`{place}[{index}].id` is '{item['id']}', and the conversation has an item of that id already. "
                "Leave the item out, or give it another id or none."
            )
        taken.add(item["id"])


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["conversation"], tenant_of(request)


def _find(items: list[Json], request: Request) -> Json:
    wanted = request.path_params["item"]
    for item in items:
        if item["id"] == wanted:
            return item
    raise LostError(f"There is no item '{wanted}' in this conversation; it was never here, or is deleted.")
