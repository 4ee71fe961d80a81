"""The files of examples/deploy: they parse, agree with each other, and run what they say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bpftrace_py.export.server import parse
from tests.live import TIME_LIMIT, command, tool
from tests.runtime.test_export import get, serving

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
SCRIPT = DEPLOY / "node.bt"
PORT = 9435
METRICS = {
    "bpftrace_runqueue_us",
    "bpftrace_execs_total",
    "bpftrace_exits_total",
    "bpftrace_signals_total",
    "bpftrace_disk_us",
}


def unit_lines() -> dict[str, list[str]]:
    """The settings of the service, by name."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "bpftrace-metrics.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def documents() -> dict[str, Any]:
    """The objects of the Kubernetes file, by kind."""
    yaml = pytest.importorskip("yaml")
    return {document["kind"]: document for document in yaml.safe_load_all((DEPLOY / "daemonset.yaml").read_text())}


def test_the_script_makes_its_metrics() -> None:
    with serving("-B", "full", str(SCRIPT)) as (session, url):
        for _ in range(3):
            subprocess.run(["/bin/sh", "-c", "kill -CONT $$; exec true"], check=True)
        page = get(url)
        assert session.interrupt().status == 0
    kinds = {line.split()[2]: line.split()[3] for line in page.splitlines() if line.startswith("# TYPE")}
    assert kinds.keys() >= METRICS
    assert (kinds["bpftrace_runqueue_us"], kinds["bpftrace_execs_total"]) == ("histogram", "counter")
    assert not [name for name in kinds if "runnable" in name or "issued" in name]
    assert 'bpftrace_execs_total{comm="true"} ' in page
    head = SCRIPT.read_text().partition("*/")[0]
    assert all(name in head for name in METRICS)


def test_the_service_runs_it() -> None:
    (start,) = unit_lines()["ExecStart"]
    program, *words, script = shlex.split(start)
    assert (Path(program).name, Path(script).name) == ("bpftrace-py", SCRIPT.name)
    assert words[:2] == ["-q", "--export"]
    assert parse(words[2]) == ("127.0.0.1", PORT)


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    text = (DEPLOY / "bpftrace-metrics.service").read_text()
    assert text.count("/usr/local/bin/bpftrace-py") == 1
    service = tmp_path / "bpftrace-metrics.service"
    service.write_text(
        text.replace("/usr/local/bin/bpftrace-py", command()).replace("man:bpftrace-py(1)", "man:bash(1)")
    )
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(service)], capture_output=True, text=True, timeout=TIME_LIMIT
    )
    about_it = [line for line in done.stderr.splitlines() if service.name in line]
    assert about_it == []


def test_the_capabilities_of_the_service_are_enough() -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux is everywhere"
    (capabilities,) = unit_lines()["CapabilityBoundingSet"]
    names = [name.removeprefix("CAP_").lower() for name in capabilities.split()]
    here = subprocess.run([setpriv, "--dump"], capture_output=True, text=True, check=True).stdout
    names = [name for name in names if name in here]  # a container may lack some itself
    bounding = ",".join(["-all", *[f"+{name}" for name in names]])
    done = subprocess.run(
        [setpriv, "--no-new-privs", f"--bounding-set={bounding}", f"--inh-caps={bounding}", command(), "-q", "--no-cache",
         "--export", "prometheus:0", "-c", "true", str(SCRIPT)],
        capture_output=True, text=True, timeout=TIME_LIMIT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_kubernetes_runs_the_same_script() -> None:
    found = documents()
    assert set(found) == {"Namespace", "ConfigMap", "DaemonSet"}
    config, daemon = found["ConfigMap"], found["DaemonSet"]
    assert config["data"][SCRIPT.name].split() == SCRIPT.read_text().split()
    pod = daemon["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["args"][:2] == ["-q", "--export"]
    assert parse(container["args"][2]) == ("0.0.0.0", PORT)
    assert container["ports"] == [{"name": "metrics", "containerPort": PORT}]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(PORT)
    assert pod["metadata"]["labels"] == daemon["spec"]["selector"]["matchLabels"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["scripts"]["configMap"]["name"] == config["metadata"]["name"]
    assert container["args"][3] == f"{mounts['scripts']}/{SCRIPT.name}"
    assert {document["metadata"].get("namespace", "bpftrace") for document in found.values()} == {"bpftrace"}
