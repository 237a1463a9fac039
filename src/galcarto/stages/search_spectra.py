"""Search the settings of the residual net by the validation loss (tree-structured Parzen estimator).

Example:
  galcarto search_spectra --settings "$(galcarto settings config/spectra.yaml search_spectra)" \\
      --seed 1 --journal search.journal --history search.csv

It needs the extra "search" (optuna). Several of these with one journal search together; a stopped one goes on.
"""

import argparse
import importlib.util
import shutil
from pathlib import Path

from galcarto.core.errors import UserError
from galcarto.core.files import Output
from galcarto.core.options import options
from galcarto.core.settings import Section, read
from galcarto.learning.settings import Training
from galcarto.spectra.settings import Network, Search, Table
from galcarto.spectra.table import read_table
from galcarto.spectra.train import learn


class Settings(Section):
    table: Table
    network: Network
    training: Training
    search: Search


def configure(parser: argparse.ArgumentParser) -> None:
    options(parser, "seed", settings=Settings)
    parser.add_argument("--journal", required=True, help="file of trials, which is gone on with")
    parser.add_argument(
        "--history", required=True, type=Output, help="CSV file to write: settings and loss of each trial"
    )


def run(args: argparse.Namespace) -> None:
    """Try settings until the journal has as many trials as wanted."""
    if importlib.util.find_spec("optuna") is None:
        raise UserError("found no optuna; expected it for a search: pip install -c constraints.txt -e '.[search]'")
    import optuna  # only here: it is an extra
    from optuna.storages.journal import JournalFileBackend

    table, network, training, search = dict(read(args.settings, Settings)).values()
    data = read_table(table, args.seed)
    training = training.model_copy(update={"epochs": search.epochs})

    def loss(trial: optuna.Trial) -> float:
        changes = {
            "width": trial.suggest_int("width", *search.width, log=True),
            "blocks": trial.suggest_int("blocks", *search.blocks),
            "dropout": trial.suggest_float("dropout", *search.dropout),
            "whiten": trial.suggest_int("whiten", *search.whiten),
        }
        rate = trial.suggest_float("learning_rate", *search.learning_rate, log=True)
        folder = Path(f"{args.journal}.{trial.number}")
        _, history = learn(
            data,
            table.magnitudes,
            table.units(),
            folder,
            network.model_copy(update={**changes, "members": 1}),
            training.model_copy(update={"learning_rate": rate}),
            args.seed,
            masks=table.masks(data.spectra.wavelength),
        )
        shutil.rmtree(folder)
        return min(row["valid_loss"] for row in history)

    storage = optuna.storages.JournalStorage(JournalFileBackend(args.journal))
    study = optuna.create_study(
        storage=storage, sampler=optuna.samplers.TPESampler(seed=args.seed), study_name="search", load_if_exists=True
    )
    left = search.trials - len(study.trials)
    if left > 0:
        study.optimize(loss, n_trials=left)
    study.trials_dataframe(attrs=("number", "value", "params")).to_csv(args.history, index=False)
