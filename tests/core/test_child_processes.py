"""What a job has started ends with it. Run in a process of its own: the tests' has children of others."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HEAD = """
    import multiprocessing, os, signal, subprocess, sys, time
    from checkmaite_core.child_processes import adopt_orphans, children, end_descendants
    from checkmaite_core.testing._leavings import runs

    SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
    STUBBORN = '''
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
    time.sleep(600)
    '''.replace("    ", "")
"""


def _run(program: str) -> str:
    text = textwrap.dedent(HEAD) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_children_and_theirs_end_whatever_they_ignore_and_wherever_they_went() -> None:
    program = """
        adopt_orphans()
        child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
        grandchild = int(child.stdout.readline())
        apart = subprocess.Popen(SLEEP, start_new_session=True)
        # One whose parent ends at once, as a daemon's does.
        daemon = int(subprocess.run(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE).stdout)
        started = [child.pid, grandchild, apart.pid, daemon]
        assert all(map(runs, started))
        assert end_descendants() == []
        assert not any(map(runs, started)), [pid for pid in started if runs(pid)]
        assert children() == frozenset()
        child.wait(), apart.wait()
    """
    _run(program)


def test_those_that_were_there_before_are_left_alone() -> None:
    program = """
        before = subprocess.Popen(SLEEP)
        known = children()
        later = subprocess.Popen(SLEEP)
        assert end_descendants(known) == []
        assert runs(before.pid) and not runs(later.pid)
        before.kill()
        before.wait()
    """
    _run(program)


def test_multiprocessing_can_be_used_again_afterwards() -> None:
    program = """
        import warnings
        warnings.simplefilter("error")
        from multiprocessing import shared_memory

        def use():
            for method in ("fork", "spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                with context.Pool(1) as pool:
                    assert pool.apply(os.getcwd) == os.getcwd(), method
                lasting = context.Process(target=time.sleep, args=(600,))
                lasting.start()
                yield lasting
            memory = shared_memory.SharedMemory(create=True, size=10)
            memory.close()
            memory.unlink()

        if __name__ == "__main__":
            for place in ("/", "/tmp"):
                os.chdir(place)
                started = list(use())
                assert end_descendants() == []
                assert not any(runs(process.pid) for process in started)
    """
    _run(program)


def test_a_process_without_children_is_told_by_one_call() -> None:
    program = """
        begun = time.perf_counter()
        for _ in range(100):
            assert children() == frozenset()
        print((time.perf_counter() - begun) / 100)
    """
    assert float(_run(program)) < 0.001
