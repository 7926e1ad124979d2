"""What is told again and again is checked by what was once said, not by how it was last told."""

from services.compaction import Covered
from services.compaction.extractive import Extractive
from services.compaction.opening import Opener
from services.compaction.summarising import Summariser
from services.model.tokenizer import Tokenizer
from services.sealing import Sealer
from tests.builders import compaction_item, message, output

SEALER = Sealer(bytes(32))
COUNTER = Tokenizer()


async def test_an_anchor_that_an_earlier_summary_left_out_is_listed_when_it_is_told_anew():
    opener = Opener(SEALER)
    method = Extractive(opener, COUNTER)
    summariser = Summariser(method, method, opener, COUNTER, wait_s=10.0)
    earlier = compaction_item("cmp_1", blob=SEALER.seal("They talked about an order."))
    later = message("msg_3", "And where is it now?")
    said = (message("msg_1", "My order is #12345."), output("call_1", text="It is ZZ-77."), later)

    made = await summariser.summary(
        Covered(
            items=(earlier, later),
            sources=said,
            shown=(earlier, later),
            tokens_max=200,
            tokens_wanted=200,
            model_name="simulator",
        )
    )

    assert "They talked about an order." in made.text
    assert made.text.endswith("Anchors: My order is #12345 | It is ZZ-77")
    assert (made.anchors_found, made.anchors_kept) == (2, 2)
