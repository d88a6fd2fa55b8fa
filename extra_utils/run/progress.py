"""Shows a person where the run stands: two bars on a terminal, one line a round elsewhere."""

from tqdm import tqdm

from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.run.metrics import Row


class Silent:
    """The display of the ranks other than 0."""

    def start_client(self, title: str, num_batches: int) -> None: ...
    def batch(self) -> None: ...
    def end_round(self, row: Row) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Two bars on a terminal, for the rounds and for rank 0's batches; one line a round elsewhere.

    The bar of the rounds has the last global figures on it.
    """

    def __init__(self, num_rounds: int, done: int) -> None:
        self._rounds = tqdm(
            total=num_rounds, initial=done, desc="rounds", position=0, unit="round", disable=None
        )
        self._batches = tqdm(position=1, leave=False, unit="batch", disable=None)

    def start_client(self, title: str, num_batches: int) -> None:
        self._batches.set_description(title, refresh=False)
        self._batches.reset(num_batches)

    def batch(self) -> None:
        self._batches.update()

    def end_round(self, row: Row) -> None:
        if self._rounds.disable:  # standard error is no terminal
            place, seconds = f"{row['round']}/{self._rounds.total}", sum(row["seconds"].values())
            print(f"round {place}  {round_text(row)}  {seconds:.1f} s", flush=True)
        self._rounds.set_postfix_str(round_text(row), refresh=False)
        self._rounds.update(1 if row["round"] else 0)
        self._rounds.refresh()

    def close(self) -> None:
        self._batches.close()
        self._rounds.close()


Display = Silent | Progress


class Observer:
    """What a client tells of its work: to the parent that it lives, to the user how far it is."""

    def __init__(self, heartbeat: RankHeartbeat, display: Display) -> None:
        self.heartbeat, self.display = heartbeat, display

    def start_client(self, round_index: int, client_id: int, num_batches: int) -> None:
        self.heartbeat.place(round_index, client_id)
        self.display.start_client(f"round {round_index}, client {client_id}", num_batches)

    def train_batch(self) -> None:
        self.heartbeat.beat()
        self.display.batch()

    def eval_batch(self) -> None:
        self.heartbeat.beat()


def choose_display(is_main: bool, num_rounds: int, done: int) -> Display:
    """Rank 0 alone speaks."""
    return Progress(num_rounds, done) if is_main else Silent()


def round_text(row: Row) -> str:
    """A round's figures in a few words."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
    texts = [f"accuracy {row['accuracy']:.2f} %", f"loss {loss}"]
    rates = {"source_recall": "source recall", "attack_success_rate": "attack success"}
    texts += [f"{name} {row[key]:.1f} %" for key, name in rates.items() if row[key] is not None]
    return "  ".join(texts)
