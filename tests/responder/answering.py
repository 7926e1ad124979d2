"""Turns answered on a log in memory, by the only responder there is."""

from services.compaction import connect
from services.conversation.budget import Policy
from services.journal.conversations import Conversations
from services.model import Model
from services.model.intake import Intake
from services.model.tokenizer import Tokenizer
from services.responder.admission import Admission
from services.responder.answer_turn import TurnAnswerer
from services.responder.ask_model import ModelAsker
from services.responder.at_work import AtWork, Key
from services.responder.compact_in_turn import TurnSummariser
from services.sealing import Sealer
from services.settings import ModelSettings

NO_LIMITS = Policy()


class Alone:
    """Colleagues of a responder that has none, and what was told before it: nothing."""

    async def work_on(self, key: Key) -> bool:
        """As the protocol says."""
        del key
        return False

    async def wait_for(self, key: Key) -> bool:
        """As the protocol says."""
        del key
        return False

    async def interrupt(self, key: Key, *, by: str) -> bool:
        """As the protocol says."""
        del key, by
        return False

    async def told(self, project: str, response_id: str) -> int:
        """As the protocol says."""
        del project, response_id
        return 0

    async def fence(self, project: str, response_id: str, *, attempt: int) -> int:
        """As the protocol says."""
        del project, response_id, attempt
        return 0


def answerer(
    conversations: Conversations,
    called: Model,
    intake: Intake,
    sealer: Sealer,
    *,
    attempts_max: int = 5,
    policy: Policy = NO_LIMITS,
    told_bytes_max: int = 1024 * 1024,
    compaction_wait_s: float = 10,
) -> TurnAnswerer:
    """An answerer that asks the model ``called``."""
    at_work, alone = AtWork(), Alone()
    admission = Admission(
        conversations, alone, at_work, alone, name="responder", attempts_max=attempts_max
    )
    made = connect.summariser(
        ModelSettings(compaction_wait_s=compaction_wait_s), called, sealer, Tokenizer()
    )
    summariser = TurnSummariser(made, intake, sealer, shrink_share=0.2)
    asker = ModelAsker(called, summariser, policy, Tokenizer(policy.models))
    return TurnAnswerer(
        conversations, asker, intake, admission, at_work, told_bytes_max=told_bytes_max
    )
