"""What the companion API says of tracks that exist: changed, deleted, their user gone.

Each may come twice, late or before the track is made; whatever the order, the newest holds. Other servers see
it as soon as they read the pointer again.
Source: contract, Events; reliability F8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

import structlog
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from hls.asset import Asset
from media_server.broker.base import Broker
from media_server.broker.envelope import TRACK_DELETED, UPDATED, USER_DELETED, Envelope, Refused, why
from media_server.errors import Conflict
from media_server.jobs import amendments
from media_server.jobs.albums import settle
from media_server.jobs.downloads import words_of
from media_server.jobs.job import Text, Uuid, now_rfc3339
from media_server.jobs.making import Making, ask, lacking
from media_server.jobs.pointer import pointer_held
from media_server.jobs.publish import live_asset, put_pointer
from media_server.jobs.takedown import take_down
from media_server.jobs.tombstone import bury_user, must_not_be_deleted
from media_server.state.base import MAX_PAGE, State
from media_server.storage.assets import Assets, download_key
from media_server.storage.base import Storage

log = structlog.get_logger()


class _Foreign(BaseModel):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel), populate_by_name=True, extra="ignore"
    )


class TrackUpdated(_Foreign):
    """The `data` of `track.updated`: what is absent stays as it is."""

    track_id: Uuid
    visibility: Literal["public", "unlisted", "private"] = "private"
    user_id: Text | None = None
    title: Text | None = None
    artist: Text | None = None


class TrackDeleted(_Foreign):
    """The `data` of `track.deleted`."""

    track_id: Uuid


class UserDeleted(_Foreign):
    """The `data` of `user.deleted`."""

    user_id: str = Field(min_length=1, max_length=1024)


Model = TypeVar("Model", bound=_Foreign)


class Catalogue:
    """Makes the changes in storage and state, and in what this process has in memory."""

    def __init__(self, *, storage: Storage, state: State, broker: Broker, assets: Assets) -> None:
        self._storage = storage
        self._state = state
        self._broker = broker
        self._assets = assets

    async def apply(self, event: Envelope) -> None:
        """Make the change; the same once more changes nothing.

        Raises:
            Refused: `bad_event`, and which field is wrong; `unknown_event`.
            Unavailable: ask again.
        """
        at = event.timestamp or now_rfc3339()
        if event.event_type == UPDATED:
            await self._update(_read(TrackUpdated, event), at)
        elif event.event_type == TRACK_DELETED:
            await self._delete(_read(TrackDeleted, event).track_id, at)
        elif event.event_type == USER_DELETED:
            await self._delete_user(_read(UserDeleted, event).user_id, at)
        else:
            raise Refused("unknown_event", f"{event.event_type} changes no track")

    async def _update(self, updated: TrackUpdated, at: str) -> None:
        track_id = updated.track_id
        changes = updated.model_dump(exclude_unset=True, exclude={"track_id"})
        async with pointer_held(self._state, track_id):
            live = await live_asset(self._storage, track_id)
            if live is None:
                try:
                    await must_not_be_deleted(self._storage, track_id, None, at)
                except Conflict:
                    log.info("track.update_too_late", track_id=track_id)
                    return
            known = await amendments.load(self._storage, track_id)
            now_known = amendments.amended(known, changes, at)
            await amendments.save(self._storage, track_id, now_known)
            if live is not None:
                await self._change(live, amendments.applied(now_known, live))
        self._assets.forget(track_id)
        if "user_id" in changes:  # with its owner it changes its album
            await settle(track_id, storage=self._storage, broker=self._broker, locks=self._state)
        log.info("track.updated", track_id=track_id, fields=sorted(changes), live=live is not None)

    async def _change(self, live: Asset, changed: Asset) -> None:
        """Files with other words than the track has now go; those that its job asked for are made anew."""
        if words_of(changed) == words_of(live):
            return await put_pointer(self._storage, self._state, changed)
        changed = replace(changed, downloads=())
        await put_pointer(self._storage, self._state, changed)
        for one in live.downloads:
            await self._storage.delete(download_key(live.track_id, live.version, one.file.name))
        listed = {one.name for one in live.downloads}
        for output in lacking(changed):
            if output in listed:  # what its job has still to make has the new words anyway
                await self._ask(changed, output)
        return None

    async def _ask(self, asset: Asset, output: str) -> None:
        making = Making(track_id=asset.track_id, version=asset.version, output=output)
        known = await self._state.get(making.job_id)
        if known is None or known.ended:
            await ask(asset, output, broker=self._broker, state=self._state, known=known)

    async def _delete(self, track_id: str, at: str) -> None:
        await take_down(
            track_id,
            storage=self._storage,
            state=self._state,
            broker=self._broker,
            assets=self._assets,
            deleted_at=at,
        )

    async def _delete_user(self, user_id: str, at: str) -> None:
        """The mark first: what is made meanwhile meets it."""
        await bury_user(self._storage, user_id, at)
        cursor: str | None = None
        while True:
            page = await self._state.tracks(limit=MAX_PAGE, cursor=cursor)
            for track in page.items:
                if track.user_id == user_id:
                    await self._delete(track.track_id, at)
            if page.next_cursor is None:
                return
            cursor = page.next_cursor


def _read(model: type[Model], event: Envelope) -> Model:
    try:
        return model.model_validate(event.data)
    except ValidationError as error:
        raise Refused("bad_event", why(error)) from None
