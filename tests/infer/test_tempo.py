import pytest

from mainspring.infer.speculate import Pace
from mainspring.infer.tempo import FIRST_GUESS, Tempo

DECODE_S, ROW_S = 0.006, 0.0006


def simulate(tempo, num_tokens, place_s, decode_s=DECODE_S):
    """Compute a prompt beside one that decodes; how many times longer than without it each step took."""
    for _ in range(20):
        tempo.note(1, 0, 0, decode_s)
    done, slowdowns = 0, []
    while done < num_tokens:
        count = min(tempo.prompt_tokens(), num_tokens - done)
        seconds = decode_s + count * (ROW_S + place_s * done)
        tempo.note(1, 0, count, seconds)
        slowdowns.append(seconds / decode_s)
        done += count
    return slowdowns


def test_the_further_a_prompt_has_come_the_less_of_it_goes_into_a_step():
    slowdowns = simulate(
        Tempo(3.0, 1), 8000, place_s=6e-7
    )  # at the end a token takes nine times what it took first
    assert sum(each > 3.3 for each in slowdowns) / len(slowdowns) < 0.01
    assert max(slowdowns[1:]) < 4
    assert len(slowdowns) < 2.2 * 8000 * (ROW_S + 6e-7 * 4000) / (
        2 * DECODE_S
    )  # and the room that there is is used


def test_a_piece_is_not_smaller_than_the_grain():
    tempo = Tempo(3.0, 16)
    simulate(tempo, 100, place_s=0.0, decode_s=1e-4)
    assert tempo.prompt_tokens() == 16


def test_before_anything_was_measured_there_is_a_first_guess():
    tempo = Tempo(3.0, 1)
    assert tempo.prompt_tokens() == FIRST_GUESS
    assert Pace().limit(tempo.row_cost(1)) == 0


@pytest.mark.parametrize("num_decoding", [1, 8])
def test_a_guess_costs_its_row_s_share_of_what_a_sequence_takes(num_decoding):
    tempo = Tempo(3.0, 1)
    step_s = DECODE_S + num_decoding * ROW_S
    tempo.note(0, 0, 100, 100 * ROW_S)  # until a guess was measured it costs what a prompt token does
    tempo.note(num_decoding, 0, 0, step_s)
    assert tempo.row_cost(num_decoding) == pytest.approx(ROW_S * num_decoding / step_s)
    for _ in range(30):
        tempo.note(num_decoding, 4, 0, step_s + 4 * 0.001)
    assert tempo.row_cost(num_decoding) == pytest.approx(0.001 * num_decoding / step_s)


def test_steps_with_guesses_do_not_make_decoding_look_slower():
    tempo = Tempo(3.0, 1)
    tempo.note(1, 0, 0, DECODE_S)
    before = tempo.prompt_tokens()
    for _ in range(30):
        tempo.note(1, 8, 0, 2 * DECODE_S)
    tempo.note(1, 0, 100, DECODE_S + 100 * ROW_S)
    assert before == FIRST_GUESS
    assert tempo.prompt_tokens() == int(2 * DECODE_S / ROW_S)
