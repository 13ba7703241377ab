from mainspring.prompts.template import Example, GroundedPrompt
from mainspring.schema import Chunk, Hit, Message


def hit(text):
    return Hit(
        chunk=Chunk(
            id="c", document="d", title="Tea", heading="Tea > Storage", start=0, end=len(text), text=text
        ),
        score=1,
    )


def test_passages_come_first_and_the_question_last():
    turn = GroundedPrompt().messages("Where is it kept?", [hit("In a\ntin {question}."), hit("Dry.")])[-1]
    assert turn.role == "user"
    assert turn.content.index("In a tin {question}.") < turn.content.index("Dry.")
    assert turn.content.endswith("Where is it kept?")


def test_examples_stand_before_the_question_in_the_form_of_the_question():
    prompt = GroundedPrompt(
        system="S",
        brief="",
        examples=(Example(question="Q?", passages=("P",), answer="A"),),
        question="{passages}|{question}",
    )
    assert prompt.messages("X?", []) == (
        Message(role="system", content="S"),
        Message(role="user", content="P|Q?"),
        Message(role="assistant", content="A"),
        Message(role="user", content="|X?"),
    )


def test_being_brief_is_a_part_that_can_be_left_out():
    assert GroundedPrompt(system="S", brief="B").messages("Q", [])[0].content == "S B"
    assert GroundedPrompt(system="", brief="").messages("Q", [])[0].role == "user"


def test_only_the_last_turns_of_a_conversation_are_shown_and_roles_stay_in_order():
    history = [Message(role="user" if i % 2 == 0 else "assistant", content=str(i)) for i in range(6)]
    shown = GroundedPrompt(max_history=3).messages("Q", [], history)
    assert [(m.role, m.content) for m in shown[1:-1]] == [("user", "4"), ("assistant", "5")]
    assert len(GroundedPrompt(max_history=0).messages("Q", [], history)) == 2


def test_a_prompt_survives_its_way_through_an_artifact():
    prompt = GroundedPrompt(examples=(Example(question="Q", passages=("P",), answer="A"),))
    assert GroundedPrompt.model_validate(prompt.model_dump(mode="json")) == prompt
