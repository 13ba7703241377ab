import pytest

from fakes_tokenizer import ByteTokenizer
from mainspring.errors import ChatError, ContextLengthError, TemplateError
from mainspring.schema import Message
from mainspring.train.sources.chats import ChatSource

USER, ANSWER = Message("user", "What is it?"), Message("assistant", "A cat.")


def sources(*conversations, max_tokens=200, **tokenizer):
    return ChatSource(conversations, ByteTokenizer(**tokenizer), max_tokens=max_tokens)


def test_the_answer_and_its_end_are_what_is_trained():
    segment = sources([USER, ANSWER]).item(0)[0]
    trained = [token for token, weight in zip(segment.ids, segment.weight, strict=True) if weight]
    assert trained == [*b"A cat.", 257]
    assert segment.trained_tokens == 7


def test_the_fingerprint_follows_the_content():
    same = sources([USER, ANSWER]), sources([USER, ANSWER])
    other = sources([USER, Message("assistant", "A dog.")])
    assert same[0].fingerprint == same[1].fingerprint != other.fingerprint


def test_a_conversation_without_an_answer_is_refused_by_number():
    with pytest.raises(ChatError, match="conversation 1 has no answer"):
        sources([USER, ANSWER], [USER])


def test_an_empty_answer_is_refused():
    with pytest.raises(ChatError, match="conversation 0 has no answer"):
        sources([USER, Message("assistant", "")])


def test_no_conversations_are_refused():
    with pytest.raises(ChatError, match="No conversations"):
        sources()


def test_a_wrong_order_of_messages_is_refused_with_the_number_of_the_conversation():
    with pytest.raises(ChatError, match=r"conversation 0: .*starts with"):
        sources([ANSWER])


def test_a_template_that_ends_no_answer_is_refused():
    endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(TemplateError, match=r"puts no end token \(257\) behind an answer"):
        sources([USER, ANSWER], chat_template=endless)


def test_a_conversation_that_does_not_fit_is_refused_with_both_lengths():
    with pytest.raises(ContextLengthError, match=r"conversation 0 has \d+ tokens; at most 20 fit"):
        sources([USER, ANSWER], max_tokens=20)
