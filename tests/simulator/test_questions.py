from services.simulator.entries import Entry
from services.simulator.questions import answers, asked

INSTRUCTIONS = Entry("system", "message", "Answer each question from the conversation.")
TALK = (
    Entry("user", "message", "Hello. The walnut lamp is filed under AB-17. Thanks!"),
    Entry("tool", "function_call_output", "call_1 the copper bench is ready"),
)


def questions(*lines: str) -> tuple[Entry, ...]:
    return (INSTRUCTIONS, *TALK, Entry("user", "message", "\n".join(lines)))


def test_a_question_is_answered_by_the_sentence_with_most_of_its_words():
    given = questions("1. Under what is the walnut lamp filed?", "2. Is the copper bench ready?")

    assert asked(given)
    assert answers(given) == (
        "1. The walnut lamp is filed under AB-17.\n2. call_1 the copper bench is ready"
    )


def test_what_was_not_said_is_unknown():
    assert answers(questions("1. Where is the marble fountain?")) == "1. unknown"
    assert answers((INSTRUCTIONS, Entry("user", "message", "7. Who is it?"))) == "7. unknown"


def test_an_ordinary_request_is_none():
    assert not asked((Entry("user", "message", "Answer each question"),))
    assert not asked(())
