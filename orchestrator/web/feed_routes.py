"""The feed of the start page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from orchestrator.web.feed import FIRST_SIZE, Feed
from orchestrator.web.feed_schemas import FeedPage

router = APIRouter(prefix="/api", tags=["batches"])


@router.get("/feed", operation_id="getFeed", response_model=FeedPage)
def get_feed(
    request: Request,
    after: Annotated[str, Query(max_length=200, description="the `next` of the page before it")] = "",
    size: Annotated[int, Query(ge=1, le=100)] = FIRST_SIZE,
) -> Response:
    """Batches with their first images: what is under way, then the latest. Asks ComfyUI nothing."""
    feed = request.app.state.feed
    assert isinstance(feed, Feed)
    return Response(feed.page(after=after, size=size), media_type="application/json")
