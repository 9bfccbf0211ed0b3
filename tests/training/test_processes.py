"""Several real processes on this machine: they train, save, die and continue as one."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import tiny_run

from diffax.training.keeping.remote import fetched

ROOT = Path(__file__).parents[2]
RECIPE = """
from tiny_run import tiny_config

def config(variant=""):
    return tiny_config(batch_size=64, log_every=1, {changes})
"""


class Cluster:
    """Processes of `train.py` that work on one run.

    Args:
        folder: for the run.
        changes: fields of the recipe's `train`.
        arguments: of all processes.
        places: where each of them works; None: all in `workdir`.
    """

    def __init__(
        self,
        folder: Path,
        changes: str = "",
        arguments: tuple[str, ...] = (),
        places: list[str] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.workdir = folder / "run"
        self.places = places
        self._recipe = folder / "several.py"
        self._recipe.write_text(RECIPE.format(changes=changes))
        self._arguments = arguments
        self.processes: list[subprocess.Popen] = []

    def start(self, count: int, devices: int = 1, slurm: bool = False) -> None:
        port = _free_port(slurm)
        flags = os.environ.get("XLA_FLAGS", "")  # compiled as in this process, to compare with it
        flags += f" --xla_force_host_platform_device_count={devices}"
        env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "train.py"), "--config", str(self._recipe)),
                    *("--workdir", str(self.places[i] if self.places else self.workdir)),
                    *("--heartbeat", "10", *self._arguments),
                    *(() if slurm else ("--coordinator", f"127.0.0.1:{port}")),
                    *(() if slurm else ("--num-processes", str(count), "--process-id", str(i))),
                ],
                cwd=ROOT,
                env=env | (_slurm_environment(count, i, port) if slurm else {}),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(count)
        ]

    def wait(self) -> list[int]:
        told = [process.communicate(timeout=300)[1] for process in self.processes]
        status = [process.returncode for process in self.processes]
        self.told = told
        return status

    def rows(self) -> list[dict]:
        path = self.workdir / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def has_made(self, steps: int) -> bool:
        try:
            return len(self.rows()) >= steps
        except (FileNotFoundError, json.JSONDecodeError):
            return False

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def _free_port(slurm: bool) -> int:
    """A port nobody listens on; JAX looks for SLURM's among the highest 4096."""
    for port in range(62_000, 65_500) if slurm else (0,):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError("no free port")


def _slurm_environment(count: int, i: int, port: int) -> dict[str, str]:
    """What SLURM would tell task i, its tasks on one node."""
    return {
        "SLURM_JOB_ID": str(port - 61_440),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(i),
        "SLURM_LOCALID": str(i),
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of one process, and its folder."""
    cluster = Cluster(tmp_path_factory.mktemp("alone"))
    config = tiny_run.tiny_config(batch_size=64, log_every=1)
    assert tiny_run.run(cluster.workdir, config) == 0
    return [row["loss"] for row in cluster.rows()]


def assert_like(cluster: Cluster, losses: list[float]) -> None:
    # Gradients are summed in another order: rounding, grown over 20 steps.
    np.testing.assert_allclose([row["loss"] for row in cluster.rows()], losses, rtol=1e-4)
    assert [row["step"] for row in cluster.rows()] == list(range(1, tiny_run.STEPS + 1))


def test_two_processes_train_as_one(tmp_path, alone):
    cluster = Cluster(tmp_path)
    cluster.start(2)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)
    # What two processes saved, one reads.
    assert tiny_run.saved_state(cluster.workdir, tiny_run.tiny_config(batch_size=64), 20)


@pytest.mark.slow
def test_two_processes_measure_as_one(tmp_path):
    """Each looks at a part of samples and data, whose statistics are merged."""
    measured = ("--data.name", "moons", "--data.num", "511", "--evaluation.every", "20",
                "--evaluation.metrics", "frechet", "kid", "--frechet.features", "classifier",
                "--kid.features", "classifier", "--frechet.samples", "101", "--kid.samples", "101",
                "--frechet.features.steps", "100", "--kid.features.steps", "100")  # fmt: skip
    found = []
    for count in (1, 2):
        cluster = Cluster(tmp_path / str(count), arguments=measured)
        cluster.start(count)
        assert cluster.wait() == [0] * count, cluster.told
        found.append(cluster.rows()[-1])
    # The samples are of parameters that differ by rounding, grown over 20 steps.
    for name in ("frechet", "kid"):
        assert found[1][name] == pytest.approx(found[0][name], rel=1e-2, abs=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize("count, devices, fsdp", [(2, 2, 4), (4, 1, 1), (4, 1, 4)])
def test_one_of_them_is_killed_and_all_continue(tmp_path, alone, count, devices, fsdp):
    cluster = Cluster(tmp_path, arguments=("--train.fsdp", str(fsdp), "--train.save_every", "2"))
    cluster.start(count, devices)
    tiny_run.wait_until(lambda: cluster.has_made(7), 200)
    cluster.processes[-1].send_signal(signal.SIGKILL)
    status = cluster.wait()  # the others notice, by themselves
    assert status[-1] == -9 and all(s != 0 for s in status), status
    cluster.start(count, devices)
    assert cluster.wait() == [0] * count, cluster.told
    assert_like(cluster, alone)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(tmp_path, alone):
    cluster = Cluster(tmp_path)
    cluster.start(2)
    tiny_run.wait_until(lambda: cluster.has_made(3), 200)
    cluster.processes[1].send_signal(signal.SIGTERM)
    assert cluster.wait() == [143, 143], cluster.told
    step = tiny_run.newest_step(cluster.workdir)
    assert step == cluster.rows()[-1]["step"]  # not a step was lost
    cluster.start(2)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)


@pytest.mark.slow
def test_another_number_of_processes_continues(tmp_path, alone):
    cluster = Cluster(tmp_path, arguments=("--train.fsdp", "-1"))
    cluster.start(4)
    tiny_run.wait_until(lambda: cluster.has_made(6), 200)
    cluster.processes[0].send_signal(signal.SIGTERM)
    assert cluster.wait() == [143] * 4, cluster.told
    cluster.start(2, devices=2)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)


@pytest.mark.slow
def test_slurm_tasks_find_each_other(tmp_path, alone):
    cluster = Cluster(tmp_path)
    cluster.start(2, slurm=True)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)


@pytest.mark.slow
def test_all_hear_why_the_first_one_cannot_write(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.workdir = "/proc/nothing/here"
    cluster.start(2)
    assert cluster.wait() == [2, 2], cluster.told
    for told in cluster.told:  # not a barrier that nobody else will reach
        assert "error: cannot write in --workdir /proc/nothing/here" in told


@pytest.mark.slow
def test_machines_that_share_only_a_bucket_train_as_one(tmp_path):
    """Every process has a disk of its own, is killed, and begins anew on empty ones."""
    bucket, steps = tmp_path / "bucket" / "run", 300  # long enough to be killed
    config = tiny_run.tiny_config(batch_size=64, log_every=1, steps=steps)
    assert tiny_run.run(tmp_path / "alone", config) == 0
    arguments = ("--train.fsdp", "4", "--train.save_every", "10")
    places = [f"file://{bucket}"] * 2
    cluster = Cluster(tmp_path / "pod", f"steps={steps}", arguments, places)
    cluster.workdir = bucket
    cluster.start(2, devices=2)
    tiny_run.wait_until(lambda: tiny_run.newest_step(bucket), 200)
    cluster.processes[-1].send_signal(signal.SIGKILL)
    status = cluster.wait()
    assert status[-1] == -9 and status[0] != 0, status
    assert (tiny_run.newest_step(bucket) or 0) < steps
    cluster.start(2, devices=2)
    assert cluster.wait() == [0, 0], cluster.told
    assert [row["step"] for row in cluster.rows()] == list(range(1, steps + 1))
    rows = tiny_run.loss_curve(tmp_path / "alone").splitlines()
    losses = [[row["loss"] for row in these] for these in (cluster.rows(), map(json.loads, rows))]
    np.testing.assert_allclose(*np.array(losses)[:, :60], rtol=1e-3)  # rounding, which grows
    assert tiny_run.saved_state(bucket, config, steps)  # what two saved, one reads


@pytest.mark.slow
def test_a_bucket_is_spoken_to_in_its_own_protocol(tmp_path, monkeypatch):
    """S3's, by s3fs, to a server on this machine: two processes train, and others go on."""
    pytest.importorskip("s3fs", reason="pip install s3fs 'moto[server]'")
    server = pytest.importorskip("moto.server", reason="pip install s3fs 'moto[server]'")
    server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    fsspec.filesystem("s3").mkdir("bucket")
    address = "s3://bucket/run"
    try:
        for steps in (20, 24):
            cluster = Cluster(tmp_path / "pod", f"steps={steps}", places=[address] * 2)
            cluster.start(2)
            assert cluster.wait() == [0, 0], cluster.told
            folder = fetched(address)
            assert tiny_run.newest_step(folder) == steps
            rows = [json.loads(line) for line in tiny_run.loss_curve(folder).splitlines()]
            assert [row["step"] for row in rows] == list(range(1, steps + 1))
    finally:
        server.stop()


@pytest.mark.slow
def test_machines_with_folders_of_their_own_need_an_address(tmp_path, alone):
    folders = [str(tmp_path / "host0"), str(tmp_path / "host1")]
    cluster = Cluster(tmp_path / "pod", places=folders)
    cluster.start(2)
    assert cluster.wait() == [2, 2], cluster.told
    for told in cluster.told:
        assert "error: not all processes see one --workdir" in told
    bucket = tmp_path / "bucket" / "run"
    cluster = Cluster(tmp_path / "pod", arguments=("--mirror", f"file://{bucket}"), places=folders)
    cluster.workdir = tmp_path / "host0"
    cluster.start(2)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)
    # Once more on the same disks, two steps back: the other one's holds no checkpoint.
    for place in (bucket, cluster.workdir):
        for step in (10, 15, 20):
            shutil.rmtree(place / "checkpoints" / f"{step:08d}")
        (place / "summary.json").unlink()
    cluster.start(2)
    assert cluster.wait() == [0, 0], cluster.told
    assert_like(cluster, alone)
    assert (tmp_path / "host1" / "checkpoints" / "00000005").is_dir()


def test_one_slurm_task_a_machine_has_all_its_gpus(monkeypatch):
    from diffax.training.distributed import _slurm_devices

    assert _slurm_devices() is None
    for name, value in (("NNODES", "4"), ("NTASKS", "4"), ("GPUS_ON_NODE", "8")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert _slurm_devices() == list(range(8))
    monkeypatch.setenv("SLURM_NTASKS", "32")  # a task for every GPU: JAX's own way
    assert _slurm_devices() is None


def test_half_of_the_flags_is_refused(capsys):
    from diffax.commands.train import main

    arguments = ["--config", "s_curve:debug", "--num-processes", "2"]
    assert main(arguments, recipes=ROOT / "configs") == 2
    assert "go together" in capsys.readouterr().err
