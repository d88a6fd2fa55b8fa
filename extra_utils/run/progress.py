"""Shows a person where the run stands: two bars on a terminal, one line a round elsewhere."""

from tqdm import tqdm

from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.run.metrics import Row


class Observer:
    """Is told of a client's work, tells the parent that the rank lives, and on rank 0 shows it."""

    def __init__(self, heartbeat: RankHeartbeat, total: int | None = None, done: int = 0) -> None:
        """``total``: the number of rounds; without one nothing is shown."""
        self.heartbeat = heartbeat
        hidden = True if total is None else None  # None: where standard error is no terminal
        self._rounds = tqdm(
            total=total, initial=done, desc="rounds", position=0, unit="round", disable=hidden
        )
        self._batches = tqdm(position=1, leave=False, unit="batch", disable=hidden)

    def start_client(self, round_index: int, client_id: int, num_batches: int) -> None:
        self.heartbeat.place(round_index, client_id)
        self._batches.set_description(f"round {round_index}, client {client_id}", refresh=False)
        self._batches.reset(num_batches)
        self._epoch = 0

    def train_batch(self, epoch: int, loss: float) -> None:
        self.heartbeat.beat()
        if epoch != self._epoch:
            self._epoch, self._total_loss, self._num_losses = epoch, 0.0, 0
        self._total_loss += loss
        self._num_losses += 1
        text = f"epoch {epoch}, mean loss {self._total_loss / self._num_losses:.3f}"
        self._batches.set_postfix_str(text, refresh=False)
        self._batches.update()

    def eval_batch(self) -> None:
        self.heartbeat.beat()

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


def round_text(row: Row) -> str:
    """A round's figures in a few words."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
    texts = [f"accuracy {row['accuracy']:.2f} %", f"loss {loss}"]
    rates = {"source_recall": "source recall", "attack_success_rate": "attack success"}
    texts += [f"{name} {row[key]:.1f} %" for key, name in rates.items() if row[key] is not None]
    return "  ".join(texts)
