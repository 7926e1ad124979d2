"""Questions and answers on NATS: the channels ``ask.*``."""

from schemas import queries, shapes, subjects
from schemas.channel import COUNT, Channel, Message
from schemas.queries import (
    Compact,
    CompactAnswer,
    Digest,
    DigestAnswer,
    Export,
    ExportOpened,
    Health,
    Listing,
    ListingAnswer,
    Rebuild,
    Rebuilding,
    Sql,
    SqlAnswer,
)

ASKED: dict[str, Channel] = {
    "ask_sql": Channel(
        address=subjects.ask("sql"),
        says="Asks the views: read-only SQL, answered at the sequence asked for or later.",
        does="receive",
        queue=subjects.PROJECTOR,
        messages=(Message(name="sql", says="A statement.", payload=Sql),),
        reply=Message(
            name="sql_answer",
            says="Its rows; or, for `pieces`, whatever its header `Turnlog-Kind` says.",
            payload=SqlAnswer,
            optional={
                queries.KIND_HEADER: shapes.one_of(
                    (queries.WORKING, queries.PIECE, queries.LAST, queries.NONE)
                ),
                queries.STANDS_HEADER: COUNT,
                queries.TRUNCATED_HEADER: shapes.exactly("true"),
            },
        ),
    ),
    "ask_conversations": Channel(
        address=subjects.ask("conversations"),
        says="Asks for conversations of a project by what they are and what is said in them.",
        does="receive",
        queue=subjects.PROJECTOR,
        messages=(Message(name="listing", says="What they have in common.", payload=Listing),),
        reply=Message(name="listing_answer", says="A page of them.", payload=ListingAnswer),
    ),
    "ask_export": Channel(
        address=subjects.ask("export"),
        says="Asks for rows of the views that may have changed, all from one snapshot.",
        does="receive",
        queue=subjects.PROJECTOR,
        messages=(Message(name="export", says="Since when.", payload=Export),),
        reply=Message(
            name="export_opened",
            says="What is told first; then, for each part, an `ExportedPart` and Arrow.",
            payload=ExportOpened,
            headers={
                queries.KIND_HEADER: shapes.one_of(
                    (
                        queries.WORKING,
                        queries.OPENED,
                        queries.BEGUN,
                        queries.PIECE,
                        queries.LAST,
                        queries.NONE,
                    )
                )
            },
        ),
    ),
    "ask_digest": Channel(
        address=subjects.ask("digest"),
        says="Asks for what two databases of views can be compared by.",
        does="receive",
        queue=subjects.PROJECTOR,
        messages=(Message(name="digest", says="At which sequence.", payload=Digest),),
        reply=Message(name="digest_answer", says="Hashes of tables.", payload=DigestAnswer),
    ),
    "ask_rebuild": Channel(
        address=subjects.ask("rebuild"),
        says="Asks for the views to be built again, beside those that answer.",
        does="receive",
        queue=subjects.PROJECTOR,
        messages=(Message(name="rebuild", says="What may replace them.", payload=Rebuild),),
        reply=Message(
            name="rebuilding",
            says="How far it is, again and again; the last one is `done`.",
            payload=Rebuilding,
        ),
    ),
    "ask_compact": Channel(
        address=subjects.ask("compact"),
        says="Asks for a window to be compacted, of which nothing is kept.",
        does="receive",
        queue=subjects.COMPACTOR,
        messages=(Message(name="compact", says="A window.", payload=Compact),),
        reply=Message(
            name="compact_answer",
            says="What to answer; until then, empty messages say that it is worked on.",
            payload=CompactAnswer,
        ),
    ),
    "ask_health": Channel(
        address=subjects.ask_health("{process}"),
        says="Asks a process whether it can serve.",
        does="receive",
        messages=(Message(name="health_question", says="Says nothing.", payload=shapes.ANY),),
        reply=Message(name="health", says="Its word for it.", payload=Health),
    ),
}
