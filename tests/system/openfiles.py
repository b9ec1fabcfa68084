# SPDX-License-Identifier: Apache-2.0
# Keeps files of an image open in every way that a move has to bring along, and checks them all when
# /app/state/check appears: "ok" on its console, or what is wrong.
import ctypes
import fcntl
import mmap
import os
import time

os.chdir("/app/state")
libc = ctypes.CDLL(None, use_errno=True)
checks = {}

deleted = open("deleted", "w+")
deleted.write("x" * (2 << 20))
deleted.flush()
os.unlink("deleted")
lower = open("/app/counter.py")
os.rename("/app/counter.py", "/app/renamed.py")
linked = open("first", "w+")
os.link("first", "second")
os.unlink("first")
locked = open("locked", "w")
fcntl.flock(locked, fcntl.LOCK_EX)
mapped = open("mapped", "w+b")
mapped.truncate(1 << 20)
memory = mmap.mmap(mapped.fileno(), 1 << 20)
watch = libc.inotify_init1(os.O_NONBLOCK)
open("watched", "w").close()
assert libc.inotify_add_watch(watch, b"/app/state/watched", 2) > 0  # IN_MODIFY
assert libc.inotify_add_watch(watch, b"/srv/layers", 0x100) > 0  # IN_CREATE, in the image

n = 0
print("ready", flush=True)
while True:
    n += 1
    memory[:8] = b"%8d" % n
    memory[-8:] = b"%8d" % n
    time.sleep(0.01)
    if not os.path.exists("check"):
        continue
    os.unlink("check")
    deleted.seek(0)
    checks["deleted"] = len(deleted.read()) == 2 << 20
    lower.seek(0)
    checks["lower"] = "class Counter" in lower.read() and os.path.samestat(
        os.fstat(lower.fileno()), os.stat("/app/renamed.py"))
    linked.write("z")
    linked.flush()
    checks["linked"] = os.stat("second").st_size == os.fstat(linked.fileno()).st_size > 0
    checks["mapped"] = os.pread(mapped.fileno(), 8, 0) == b"%8d" % n and open("mapped", "rb").read()[-8:] == b"%8d" % n
    if os.fork() == 0:
        try:
            fcntl.flock(open("locked"), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os._exit(1)
        except BlockingIOError:
            os._exit(0)
    checks["locked"] = os.wait()[1] == 0
    with open("watched", "a") as f:
        f.write("y")
    open("/srv/layers/%d" % n, "w").close()
    try:
        checks["watched"] = len(os.read(watch, 4096)) >= 32
    except BlockingIOError:
        checks["watched"] = False
    wrong = [name for name in checks if not checks[name]]
    print("wrong: " + " ".join(wrong) if wrong else "ok", flush=True)
