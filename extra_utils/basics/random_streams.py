"""Every random draw comes from a stream named by its purpose, client and round.

So a draw depends on nothing that was drawn before it: not on the process, not on the order of
the clients, not on whether the run was resumed.
"""

from enum import IntEnum

from numpy.random import Generator, SeedSequence, default_rng


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every result: never change one."""

    MODEL = 0
    SUBSET = 1
    PARTITION = 2
    ATTACKERS = 3
    TRAINING = 4
    SYNTHETIC = 5
    SAMPLES = 6
    PARTICIPANTS = 7
    VALIDATION = 8
    POISON = 9
    NOISE = 10
    BUCKETS = 11
    MASKS = 12


def stream(seed: int, purpose: Purpose, client: int = 0, round_index: int = 0) -> Generator:
    return default_rng(SeedSequence(seed, spawn_key=(int(purpose), client, round_index)))


def torch_seed(seed: int, purpose: Purpose, client: int = 0, round_index: int = 0) -> int:
    """A 63-bit seed of the same name, for what only torch can draw."""
    named = stream(seed, purpose, client, round_index).bit_generator.seed_seq
    return int(named.generate_state(1, "uint64")[0]) >> 1
