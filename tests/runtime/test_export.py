"""`--export prometheus:PORT`: real scrapes, by Python's client library and by a Prometheus server."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import TIME_LIMIT, Session, run_command, tool
from tests.live import command as installed

prometheus_client = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

PROGRAM = """
BEGIN {
    @count["a\\"b\\\\c", 7] = count(); @sum[comm] = sum(5); @sum[comm] = sum(6); @number = 42; @text[1] = "word";
    @avg = avg(3); @avg = avg(5); @stats[cpu] = stats(-7); @min = min(4); @max = max(9); @ = count();
    @hist[tid, "t"] = hist(0); @hist[tid, "t"] = hist(3); @hist[tid, "t"] = hist(1000); @hist[tid, "t"] = hist(-8);
    @lhist = lhist(7, 0, 10, 5); @lhist = lhist(99, 0, 10, 5); @lhist = lhist(-1, 0, 10, 5);
    printf("hello\\n");
}
"""


@contextmanager
def serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[Session, str]]:
    """A session and the URL of its metrics."""
    with Session("--export", "prometheus:0", *arguments, env=env) as session:
        session.wait_attached()
        yield session, session.wait_for(r"^Metrics are at (http://\S+/metrics)$", stream="stderr")[1]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIME_LIMIT) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.read().decode()  # type: ignore[no-any-return]


def scrape(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels, all of them different."""
    samples = [s for family in text_string_to_metric_families(get(url)) for s in family.samples]
    found = {(s.name, frozenset(s.labels.items())): s.value for s in samples}
    assert len(found) == len(samples)
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_a_scrape() -> None:
    with serving("-e", PROGRAM) as (session, url):
        session.wait_for("hello")
        page = get(url)
        found = scrape(url)
        session.interrupt()
    kinds = {family.name: family.type for family in text_string_to_metric_families(page)}
    assert found[key("bpftrace_count_total", key0='a"b\\c', key1="7")] == 1
    (sum_,) = [(labels, value) for (name, labels), value in found.items() if name == "bpftrace_sum_total"]
    assert ([label for label, _ in sum_[0]], sum_[1]) == (["comm"], 11)
    assert found[key("bpftrace_number")] == 42
    assert found[key("bpftrace_text", key0="1", value="word")] == 1
    assert (found[key("bpftrace_avg_sum")], found[key("bpftrace_avg_count")]) == (8, 2)
    assert [value for (name, _), value in found.items() if name == "bpftrace_stats_sum"] == [-7]
    assert (found[key("bpftrace_min")], found[key("bpftrace_max")]) == (4, 9)
    assert found[key("bpftrace_unnamed_total")] == 1
    assert found[key("bpftrace_events_total")] == 1
    assert found[key("bpftrace_lost_events_total")] == 0
    assert found[key("bpftrace_lost_map_updates_total", map="@hist")] == 0
    assert found[key("bpftrace_probes")] == 1
    assert kinds["bpftrace_count"] == kinds["bpftrace_sum"] == "counter"
    assert kinds["bpftrace_number"] == kinds["bpftrace_min"] == "gauge"
    assert (kinds["bpftrace_hist"], kinds["bpftrace_avg"]) == ("histogram", "summary")


def test_histograms_have_exact_buckets_and_sums() -> None:
    with serving("-e", PROGRAM) as (session, url):
        session.wait_for("hello")
        found = scrape(url)
        session.interrupt()
    for name, values in (("hist", (0, 3, 1000, -8)), ("lhist", (7, 99, -1))):
        buckets = {float(dict(k[1])["le"]): v for k, v in found.items() if k[0] == f"bpftrace_{name}_bucket"}
        assert max(buckets) == math.inf
        for bound, count in buckets.items():
            assert count == sum(value <= bound for value in values), (name, bound)
        (total,) = [v for k, v in found.items() if k[0] == f"bpftrace_{name}_sum"]
        (count,) = [v for k, v in found.items() if k[0] == f"bpftrace_{name}_count"]
        assert (total, count) == (sum(values), len(values))


def test_maps_are_printed_as_without_it() -> None:
    """The sums that histograms keep for a scrape are not seen anywhere else."""
    program = PROGRAM.replace("tid", "1").replace("comm", "2").replace("cpu", "3") + ' END { delete(@hist[1, "t"]); }'
    program = program.replace('printf("hello\\n");', 'print(@lhist); zero(@lhist); print(@hist[1, "t"]); exit();')
    assert run_command("-e", program).stdout == run_command("--export", "prometheus:0", "-e", program).stdout


def test_live_values_grow_from_scrape_to_scrape() -> None:
    program = "interval:ms:10 { @n = count(); @h = hist(7); }"
    with serving("-e", program) as (session, url):
        first = scrape(url)
        while key("bpftrace_h_count") not in first:  # nothing has been counted yet
            first = scrape(url)
        second = first
        while second[key("bpftrace_n_total")] <= first[key("bpftrace_n_total")] + 5:
            second = scrape(url)
        session.interrupt()
    assert second[key("bpftrace_h_count")] > first[key("bpftrace_h_count")]
    assert second[key("bpftrace_uptime_seconds")] > first[key("bpftrace_uptime_seconds")]


def test_many_scrapes_at_once_while_events_flow() -> None:
    program = (
        'tracepoint:syscalls:sys_enter_getppid /pid == $1/ { @n = count(); @by[tid] = count(); printf("%d\\n", tid); }'
    )
    busy = "import os, sys\nsys.stdin.read(1)\nwhile True: os.getppid()"
    workload = subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE)
    try:
        with serving("-o", "/dev/null", "-e", program, str(workload.pid)) as (session, url):
            assert workload.stdin
            workload.stdin.write(b"x")
            workload.stdin.flush()
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(scrape, [url] * 40))
            assert session.interrupt().status == 0
    finally:
        workload.kill()
        workload.wait()
    assert max(f[key("bpftrace_n_total")] for f in found) > 0


def test_too_many_label_sets_are_counted() -> None:
    program = (
        'BEGIN { $i = 1; while ($i <= 50) { @n[$i] = sum($i); @few[$i % 3] = count(); $i++; } printf("done\\n"); }'
    )
    with serving("-e", program, env={"BPFTRACE_EXPORT_LABELS_MAX": "20"}) as (session, url):
        session.wait_for("done")
        found = scrape(url)
        session.interrupt()
    shown = sorted(int(dict(labels)["i"]) for name, labels in found if name == "bpftrace_n_total")
    assert shown == list(range(31, 51))
    assert found[key("bpftrace_label_sets_left_out", map="@n")] == 30
    assert found[key("bpftrace_label_sets_left_out", map="@few")] == 0


def test_what_a_full_map_refuses_is_counted() -> None:
    program = 'BEGIN { $i = 0; while ($i < 10) { @n[$i] = 1; $i++; } printf("done\\n"); }'
    with serving("-e", program, env={"BPFTRACE_MAP_KEYS_MAX": "4"}) as (session, url):
        session.wait_for("done")
        assert scrape(url)[key("bpftrace_lost_map_updates_total", map="@n")] == 6
        session.interrupt()


def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("needs IPv6 (an address ::1)")
    with Session("--export", "prometheus:[::1]:0", "-e", "BEGIN { @ = 7; }") as session:
        url = session.wait_for(r"^Metrics are at (http://\[::1\]:\d+/metrics)$", stream="stderr")[1]
        assert scrape(url)[key("bpftrace_unnamed")] == 7
        session.interrupt()


def test_only_metrics_are_served() -> None:
    with serving("-e", "BEGIN { @ = count(); }") as (session, url):
        for path, method, status in (
            ("/", "GET", 200),
            ("/other", "GET", 404),
            ("/metrics", "POST", 501),
            ("/metrics", "HEAD", 200),
        ):
            request = urllib.request.Request(url.removesuffix("/metrics") + path, method=method)
            try:
                found = urllib.request.urlopen(request, timeout=TIME_LIMIT).status
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == status, (path, method)
        with socket.create_connection((urllib.parse.urlsplit(url).hostname, urllib.parse.urlsplit(url).port)) as client:
            client.sendall(b"\0\xff garbage\r\n\r\n")  # one that is no HTTP harms nobody
            client.recv(1000)
        assert key("bpftrace_unnamed_total") in scrape(url)
        assert session.interrupt().status == 0


def test_without_an_address_only_this_machine_is_served() -> None:
    with serving("-e", "BEGIN { @ = 1; }") as (session, url):
        assert urllib.parse.urlsplit(url).hostname == "127.0.0.1"
        session.interrupt()


# --- what can go wrong


def test_a_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_command("--export", f"prometheus:{port}", "-e", "BEGIN { exit(); }")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"error[E0834]: metrics cannot be served at 127.0.0.1:{port}: address already in use\n"


@pytest.mark.parametrize("place", ["prometheus:no.such.host.invalid:1", "prometheus:192.0.2.1:9435"])
def test_an_address_that_is_not_ours(place: str) -> None:
    done = run_command("--export", place, "-e", "BEGIN { exit(); }")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith("error[E0834]: metrics cannot be served at ")
    assert "Traceback" not in done.stderr


def test_a_bad_place_is_bad_usage() -> None:
    done = run_command("--export", "prometheus:http", "-e", "BEGIN { exit(); }")
    assert done.status == 2
    assert done.stderr.startswith(
        "error[E0832]: --export takes prometheus:PORT or prometheus:ADDRESS:PORT, not 'prometheus:http'\n"
    )


def test_without_the_library_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not here')\n")
    done = run_command("--export", "prometheus:0", "-e", "BEGIN { exit(); }", env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "error[E0833]: --export prometheus needs the Python package prometheus_client\n  hint: "
    )


def test_nothing_of_it_is_imported_without_the_option() -> None:
    script = f"import sys; sys.argv = [{installed()!r}, '-q', '-e', 'BEGIN {{ exit(); }}']; from bpftrace_py.cli import main; main()"
    script += "; print([m for m in sys.modules if m.startswith(('prometheus', 'http', 'socketserver', 'bpftrace_py.export'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.stdout.splitlines()[-1] == "[]"


# --- Prometheus itself


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]  # type: ignore[no-any-return]


@contextmanager
def prometheus(target: str, directory: Path) -> Iterator[str]:
    """Debian's server, scraping a target; the URL of its API."""
    binary = tool("prometheus")
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n"
        f"  - {{job_name: bpftrace, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    port = free_port()
    log = directory / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [binary, f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        server.terminate()
        server.wait(TIME_LIMIT)


def query(api: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """The answer to an expression, when there is one."""
    deadline = time.monotonic() + TIME_LIMIT
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(
                f"{api}/query?{urllib.parse.urlencode({'query': expression})}", timeout=5
            ) as answer:
                found = json.load(answer)["data"]["result"]
        except (OSError, KeyError):
            found = []
        values = [(item["metric"], float(item["value"][1])) for item in found]
        if values and not any(math.isnan(value) for _, value in values):
            return values
        time.sleep(0.2)
    raise AssertionError(f"no answer to {expression}")


def test_prometheus_scrapes_it(tmp_path: Path) -> None:
    program = (
        'interval:ms:100 { @ticks = count(); @h["k"] = hist(100); @l["a\\"b"] = lhist(3, 0, 10, 1); @last = "x\\\\y"; }'
        " BEGIN { @ms = avg(4); @ms = avg(6); }"
    )
    with serving("-e", program) as (session, url), prometheus(urllib.parse.urlsplit(url).netloc, tmp_path) as api:
        (up,) = query(api, 'up{job="bpftrace"} == 1')
        assert up[1] == 1
        # Asked for over time, as a fleet's dashboards do.
        (rate,) = query(api, "rate(bpftrace_ticks_total[10s]) > 0")
        assert rate[0]["job"] == "bpftrace"
        (quantile,) = query(api, "histogram_quantile(0.5, rate(bpftrace_h_bucket[10s]))")
        assert 63 < quantile[1] <= 127
        (median,) = query(api, "bpftrace_h_sum / bpftrace_h_count")
        assert median[1] == 100
        (linear,) = query(api, 'bpftrace_l_bucket{le="3"}')
        assert linear[0]["key0"] == 'a"b'
        (mean,) = query(api, "bpftrace_ms_sum / bpftrace_ms_count")
        assert mean[1] == 5
        (text,) = query(api, "bpftrace_last")
        assert text[0]["value"] == "x\\y"
        (info,) = query(api, "bpftrace_script_info")
        assert info[0]["script"] == "stdin"
        session.interrupt()
    assert not re.search("level=(error|warn) component=.scrape", (tmp_path / "log").read_text())


def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = tool("promtool")
    with serving("-e", PROGRAM) as (session, url):
        session.wait_for("hello")
        page = get(url)
        session.interrupt()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=TIME_LIMIT
    )
    # It also knows better how to name things; what we name is the script's own.
    complaints = [
        line
        for line in done.stderr.splitlines()
        if not re.match(r"bpftrace_(count|sum|avg|min|max|hist|text|number)\b", line)
    ]
    assert complaints == [], done.stderr


def test_where_they_are_is_not_told_with_q() -> None:
    assert run_command("-q", "--export", "prometheus:0", "-e", "BEGIN { exit(); }").stderr == ""
