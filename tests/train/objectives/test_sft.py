import torch

from mainspring.adapt import lora
from mainspring.train.batch import Segment, lay_out, pack
from mainspring.train.objectives.sft import Sft, token_nll
from mainspring.train.outputs import run_model
from oracle_llama import assert_same_gradients, fill_alike, in_transformers, peft_loss, with_peft


def segments(seed=0, lengths=(40, 7, 23), vocab_size=288):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index, length in enumerate(lengths):
        ids = torch.randint(0, vocab_size, (length,), generator=generator).tolist()
        weight = (torch.rand(length, generator=generator) < 0.4).int().tolist()
        made.append(Segment(ids=ids, weight=[*weight[:-1], 1], name=f"segment {index}"))
    return made


def backward(model, batches):
    count = sum(batch.counts()["tokens"] for batch in batches)
    total = 0.0
    for batch in batches:
        loss = Sft()(run_model(model, batch), batch)
        (loss.sum / count).backward()
        total += float(loss.sum.detach()) / count
    return total


def test_a_lora_step_on_three_packed_conversations_equals_peft_one_by_one(model):
    peft_model = with_peft(in_transformers(model), rank=4, alpha=8)
    lora.add(model, lora.Lora(rank=4, alpha=8), "a")
    fill_alike(model, "a", peft_model)
    loss = backward(model, pack([(each,) for each in segments()], 100))
    theirs = peft_loss(peft_model, segments())
    theirs.backward()
    assert abs(loss - float(theirs.detach())) / float(theirs.detach()) < 1e-5
    assert_same_gradients(model, "a", peft_model)


def test_packed_documents_have_the_token_losses_they_have_alone(model):
    three = segments()
    (packed,) = pack([(each,) for each in three], 100)
    together = token_nll(run_model(model, packed), packed)
    for place in packed.segments:
        alone = lay_out([(0, 0, three[place.index])])
        expected = token_nll(run_model(model, alone), alone)
        torch.testing.assert_close(
            together[place.start : place.start + place.length], expected, rtol=1e-5, atol=1e-6
        )


def test_four_batches_of_one_are_one_batch_of_four(model):
    four = segments(lengths=(30, 12, 25, 18))
    lora.add(model, lora.Lora(rank=4), "a")
    lora_parameters = [each for each in model.parameters() if each.requires_grad]
    for pair in lora.pairs(model, "a").values():
        torch.nn.init.normal_(pair.b_OR, std=0.05)
    one = backward(model, pack([(each,) for each in four], 85))
    expected = [each.grad.clone() for each in lora_parameters]
    for each in lora_parameters:
        each.grad = None
    batches = pack([(each,) for each in four], 30)
    assert len(batches) > 2
    assert abs(backward(model, batches) - one) < 1e-6 * one
    for each, gradient in zip(lora_parameters, expected, strict=True):
        assert (each.grad - gradient).norm() <= 1e-6 * gradient.norm()


def test_a_weight_of_two_counts_a_token_twice(model):
    ids = [1, 2, 3, 4]
    (one,) = pack([(Segment(ids=ids, weight=[0, 1, 0, 0], name="one"),)], 10)
    (two,) = pack([(Segment(ids=ids, weight=[0, 2, 0, 0], name="two"),)], 10)
    loss = [float(Sft()(run_model(model, batch), batch).sum.detach()) for batch in (one, two)]
    assert loss[1] == 2 * loss[0]
    assert two.counts()["tokens"] == 2
