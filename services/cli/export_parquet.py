"""``turnlog export DIR``: the views as Parquet files, brought up to date each time."""

import asyncio
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import IO

import click
import msgspec
from nats.aio.client import Client

from schemas import queries, subjects
from schemas.queries import Export, ExportedPart, ExportOpened
from services.audit.points import Point
from services.cli import address
from services.cli.parquet import Directory, ExportUnusable, opened
from services.cli.sql import on_projector
from services.journal.pieces import NoAnswer, pieces

WAIT_S = 30.0


def export_parquet(path: Path, *, since: Point | None) -> None:
    """Bring the files in ``path`` to the end of the log; raises `click.ClickException`."""
    try:
        with opened(path) as directory:
            known = directory.manifest
            if isinstance(since, int) and known is not None and since > known.state.sequence:
                raise ExportUnusable(
                    f"{path} has everything up to {known.state.sequence}: what came between that "
                    f"and {since} would be missing"
                )
            asyncio.run(on_projector(address.nats_url(), _Exporting(directory, since).run))
    except OSError as error:
        raise click.FileError(str(error.filename or path), str(error.strerror)) from error


class _Exporting:
    def __init__(self, directory: Directory, since: Point | None) -> None:
        self._directory = directory
        self._since = since
        self._opened: ExportOpened
        self._part: ExportedPart | None = None

    async def run(self, client: Client) -> None:
        info = await client.jetstream().stream_info(subjects.CONVERSATIONS)
        known = self._directory.manifest
        asked = Export(
            since=self._since if isinstance(self._since, int) else None,
            since_at=self._since if not isinstance(self._since, int) else None,
            known=known.state if known else None,
            sequence=info.state.last_seq,
            wait_s=WAIT_S,
        )
        try:
            await self._take(client, msgspec.json.encode(asked))
        except NoAnswer as error:
            if error.answer.code == queries.LOG_DIFFERS:
                raise ExportUnusable(f"{error}: choose an empty directory") from error
            raise
        manifest = self._directory.finish(self._opened.state, since=self._opened.since)
        written = self._directory.written.values()
        click.echo(
            f"{len(written)} files written with {sum(each.rows for each in written):,} rows; "
            f"{len(manifest.files)} files at sequence {manifest.state.sequence}"
        )

    async def _take(self, client: Client, question: bytes) -> None:
        with ExitStack() as open_files, self._directory.spool() as path:
            spooled: IO[bytes] | None = None
            told = pieces(client, subjects.ask("export"), question)
            async with aclosing(told):
                async for piece in told:
                    if piece.kind in {queries.BEGUN, queries.LAST} and spooled is not None:
                        spooled.close()
                        # Away from the loop: that it still works on it, the projector is told.
                        await asyncio.to_thread(self._add, path)
                    match piece.kind:
                        case queries.OPENED:
                            self._opened = msgspec.json.decode(piece.data, type=ExportOpened)
                            self._check()
                        case queries.BEGUN:
                            self._part = msgspec.json.decode(piece.data, type=ExportedPart)
                            spooled = open_files.enter_context(path.open("wb"))
                        case queries.PIECE:
                            assert spooled is not None
                            spooled.write(piece.data)
                        case _:
                            pass

    def _check(self) -> None:
        """Refuse to leave a gap, as `export_parquet` does where it knows the sequence."""
        known, since = self._directory.manifest, self._opened.since
        if known is not None and since > known.state.sequence:
            raise ExportUnusable(
                f"the directory has everything up to {known.state.sequence}: what came between "
                f"that and {since} would be missing"
            )

    def _add(self, path: Path) -> None:
        assert self._part is not None
        self._directory.add(self._part, path, sequence=self._opened.state.sequence)
