"""The command on the live kernel: scripts, parameters, outputs, -c, -p, and what a user may do wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpftrace_py import cli
from bpftrace_py.diagnostics import HostError
from bpftrace_py.files import open_output
from tests.live import Session, peer, run, run_command
from tests.live import command as installed

HELLO = 'BEGIN { printf("hello\\n"); exit(); }'


def test_hello() -> None:
    done = run(HELLO)
    assert (done.status, done.stdout) == (0, "Attaching 1 probe...\nhello\n\n\n")
    assert done.stderr.replace("__BPFTRACE_NOTIFY_PROBES_ATTACHED\n", "") == ""


def test_the_notice_of_attached_probes_is_as_bpftrace_gives_it() -> None:
    """On standard error, a line of its own, only if the variable asks for it."""
    notice = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"

    def stderr(tool: str, value: str | None) -> str:
        environment = {name: text for name, text in os.environ.items() if name != notice}
        if value is not None:
            environment[notice] = value
        done = subprocess.run([tool, "-e", HELLO], capture_output=True, text=True, env=environment, timeout=60)
        assert notice not in done.stdout
        return done.stderr

    for tool in (installed(), peer()):
        assert stderr(tool, "1").splitlines().count(notice) == 1
        assert notice not in stderr(tool, None)


def test_a_script_with_parameters(tmp_path: Path) -> None:
    script = tmp_path / "parameters.bt"
    script.write_text('BEGIN { printf("%d %s %d\\n", $1, str($2), $#); exit(); }')
    for arguments in (["-q", str(script), "5", "abc"], [str(script), "5", "abc", "-q"], ["-q", str(script), "--", "5", "abc"]):
        assert run_command(*arguments).lines[0] == "5 abc 2"
    assert run_command("-q", str(script), "5", "--", "-x").lines[0] == "5 -x 2"
    assert run_command("-q", "-", "7", "8", input=script.read_text()).lines[0] == "7 8 2"


@pytest.mark.parametrize("options", ["", " -q", " -q -B none"])
def test_an_executable_script(options: str, tmp_path: Path) -> None:
    script = tmp_path / "script.bt"
    script.write_text(f"#!{installed()}{options}\nBEGIN {{ printf(\"%d\\n\", $1); exit(); }}\n")
    script.chmod(0o755)
    done = subprocess.run([str(script), "42"], capture_output=True, text=True, timeout=60)
    attaching = "" if options else "Attaching 1 probe...\n"
    assert (done.returncode, done.stdout) == (0, f"{attaching}42\n\n\n")


def test_output_to_a_file(tmp_path: Path) -> None:
    done = run_command("-o", str(tmp_path / "out"), "-e", 'BEGIN { printf("x\\n"); system("echo y"); @ = 1; exit(); }')
    assert (done.status, done.stdout) == (0, "")
    assert (tmp_path / "out").read_text() == "Attaching 1 probe...\nx\ny\n\n\n@: 1\n"


def test_a_program_that_is_wrong_does_not_touch_the_output_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("kept")
    assert run_command("-o", str(path), "-e", "BEGIN { nope(); }").status == 1
    assert path.read_text() == "kept"


def test_a_full_disk_is_one_sentence() -> None:
    done = run_command("-o", "/dev/full", "-e", HELLO)
    assert done.status == 1
    assert "error[E0902]: the output could not be written: no space left on device\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["-h"], ["-V"], ["--info"], ["-d", "-e", HELLO], ["-l", "t:sched:*"], ["-e", HELLO]])
def test_a_full_disk_behind_standard_output_is_one_sentence(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([installed(), *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("__BPFTRACE")]
    assert (done.returncode, said) == (1, ["error[E0902]: the output could not be written: no space left on device"])


def test_a_command_that_crashes_is_told() -> None:
    done = run("BEGIN { }", "-c", "sh -c 'kill -SEGV $$'")
    assert done.status == 0
    assert "warning[W0914]: the command of -c was ended by signal 11 (segmentation fault)\n" in done.stderr
    quiet = run("BEGIN { }", "-c", "sh -c 'exit 7'")
    assert (quiet.status, quiet.stderr) == (0, "")
    assert "The command ended with status 7\n" in run("BEGIN { }", "-v", "-c", "sh -c 'exit 7'").stderr


def test_json_is_one_object_a_line() -> None:
    program = 'BEGIN { printf("a\\n"); @x[1] = 2; @h = hist(3); print(@x); cat("/no/such"); system("echo b"); exit(); }'
    done = run_command("-f", "json", "-e", program)
    lines = [json.loads(line) for line in done.lines]
    assert [line["type"] for line in lines] == [
        "attached_probes", "printf", "map", "warning", "syscall", "hist", "map", "totals",
    ]  # fmt: skip
    assert lines[2]["data"] == {"@x": {"1": 2}}


def test_the_command_is_seen_from_its_execve_on() -> None:
    program = """tracepoint:syscalls:sys_enter_execve /pid == cpid/ { join(args->argv); }
        tracepoint:sched:sched_process_exec /pid == cpid/ { printf("%s\\n", comm); }"""
    done = run_command("-q", "-c", "/bin/true 'a b' c", "-e", program)
    assert done.lines[:2] == ["/bin/true a b c", "true"]


def test_json_ends_with_the_totals_of_the_run() -> None:
    program = 'BEGIN { $i = 0; while ($i < 300) { printf("%d", $i); @n[$i] = 1; $i++; } exit(); }'
    done = run_command("-f", "json", "-e", program, env={"BPFTRACE_RING_BYTES": "4096", "BPFTRACE_MAP_KEYS_MAX": "100"})
    lines = [json.loads(line) for line in done.lines]
    assert (lines[-1]["type"], [line["type"] for line in lines].count("totals")) == ("totals", 1)
    totals = lines[-1]["data"]
    printed = sum(line["type"] == "printf" for line in lines)
    lost = sum(line["data"]["events"] for line in lines if line["type"] == "lost_events")
    assert totals.pop("seconds") >= 0
    assert totals == {
        "probes": 1, "probes_failed": 0, "events": printed, "lost_events": lost, "missed_events": 0, "lost_updates": {"@n": 200},
        "lost_stacks": 0, "stopped_loops": {},
    }  # fmt: skip
    assert printed + lost == 301  # the exit(), too, which is made up for


@pytest.mark.parametrize("mode", ["line", "full", "none"])
def test_buffering(mode: str) -> None:
    """What is printed comes at once, but for `full`, where it comes with the end."""
    with Session("-B", mode, "-q", "-e", 'BEGIN { printf("now\\n"); } interval:ms:500 { @n++; if (@n == 3) { exit(); } }') as session:
        if mode != "full":
            session.wait_for("^now$")
            assert session.process.poll() is None
        done = session.wait()
    assert done.lines[0] == "now"


def test_the_command_of_c(tmp_path: Path) -> None:
    done = run_command("-q", "-c", f"touch {tmp_path}/made", "-e", 'BEGIN { printf("%d\\n", cpid > 1); } END { printf("end\\n"); }')
    assert (done.status, done.lines[:2]) == (0, ["1", "end"])
    assert (tmp_path / "made").exists()


def test_a_command_is_not_run_by_a_program_that_is_wrong(tmp_path: Path) -> None:
    assert run_command("-c", f"touch {tmp_path}/made", "-e", "BEGIN { nope(); }").status == 1
    assert not (tmp_path / "made").exists()


def test_a_command_that_cannot_be_started() -> None:
    done = run_command("-c", "/no/such/command", "-e", HELLO)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "error[E0809]: the command /no/such/command of -c cannot be started: no such file or directory\n"


def test_it_ends_with_the_process_of_p() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    with Session("-q", "-p", str(process.pid), "-e", 'END { printf("end\\n"); }') as session:
        session.wait_attached()
        process.kill()
        process.wait()
        done = session.wait()
    assert (done.status, done.lines[0]) == (0, "end")


def test_a_process_that_is_not_there() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    done = run_command("-p", str(process.pid), "-e", HELLO)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"error[E0810]: there is no process with the id {process.pid}\n"


def test_verbose_shows_the_bytecode_and_what_the_verifier_made_of_it() -> None:
    done = run_command("-v", "-e", HELLO)
    for expected in ("Bytecode of BEGIN:\n0: (", ") exit\nprocessed ", "\nAttaching BEGIN\n", "\nRunning...\n"):
        assert expected in done.stderr
    assert done.stdout.startswith("Attaching 1 probe...\nhello\n")


def test_information() -> None:
    done = run_command("--info")
    assert done.status == 0
    assert "  ring buffer: yes\n" in done.stdout
    assert f"  version: {cli_version()}\n" in done.stdout


def cli_version() -> str:
    return run_command("--version").stdout.split()[1]


def test_listing() -> None:
    done = run_command("-l", "tracepoint:raw_syscalls:*")
    assert done.lines == ["tracepoint:raw_syscalls:sys_enter", "tracepoint:raw_syscalls:sys_exit"]


def test_safe_refuses_system() -> None:
    done = run_command("--safe", "-e", 'BEGIN { system("echo x"); exit(); }')
    assert (done.status, done.stdout) == (1, "")
    assert "system()" in done.stderr
    assert run_command("--unsafe", "-q", "-e", 'BEGIN { system("echo x"); exit(); }').lines[0] == "x"


def test_a_foreign_module_named_bcc_is_not_taken_for_bcc(tmp_path: Path) -> None:
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("")
    done = run_command("--no-cache", "-e", HELLO, env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith("error[E0703]: the module `bcc` in ")


def test_maps_need_not_be_printed() -> None:
    done = run("BEGIN { @ = 1; exit(); }", env={"BPFTRACE_PRINT_MAPS_ON_EXIT": "0"})
    assert "@: 1" not in done.stdout


def test_lost_events_are_told_on_standard_error() -> None:
    done = run('BEGIN { $i = 0; while ($i < 600) { printf("%d\\n", $i); $i++; } exit(); }', env={"BPFTRACE_RING_BYTES": "4096"})
    printed = sum(line.isdigit() for line in done.lines)
    assert done.status == 0
    assert f"lost {600 - printed + 1} events" in done.stderr


def test_too_few_descriptors_are_said_to_be_that() -> None:
    for limit in range(11, 18):  # with less, the shell that starts the interpreter cannot read its script
        done = subprocess.run(
            ["bash", "-c", f"ulimit -n {limit}; exec {installed()} --no-cache -e '{HELLO}'"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 or "hello" in done.stdout, limit
        assert "Traceback" not in done.stderr
        assert "bug" not in done.stderr or "clang" in done.stderr, done.stderr
        assert done.returncode == 0 or "error[E" in done.stderr, done.stderr


def test_root_does_not_write_through_the_link_or_the_file_of_another(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    target = tmp_path / "target"
    target.write_text("precious")
    link, planted = shared / "link", shared / "planted"
    link.symlink_to(target)
    os.lchown(link, 65534, 65534)
    planted.write_text("bait")
    os.chown(planted, 65534, 65534)
    for name in (link, planted):
        with pytest.raises(HostError) as error:
            open_output(str(name))
        assert error.value.diagnostics[0].code == "E0806"
    assert (target.read_text(), planted.read_text()) == ("precious", "bait")


def test_without_rights_it_says_so_and_dry_runs_still_work() -> None:
    def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bpftrace_py", *arguments], capture_output=True, text=True, timeout=60, user=65534,
            group=65534, extra_groups=[], cwd=Path(cli.__file__).parent.parent, env={**os.environ, "HOME": "/nonexistent"},
        )  # fmt: skip

    done = as_nobody("-e", HELLO)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error[E0707]: the kernel does not let this user load BPF programs\n  hint: run it as root")
    assert as_nobody("-d", "-e", HELLO).returncode == 0
