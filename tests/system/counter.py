# SPDX-License-Identifier: Apache-2.0
# A stateful server for the tests of images: on each line of a connection it counts one up and
# answers the number of this connection, the number of all, and the last one that is in its file.
import os
import socketserver

total = 0
log = open("count", "a+", buffering=1)


class Counter(socketserver.StreamRequestHandler):
    def handle(self):
        global total
        mine = 0
        for _ in self.rfile:
            mine += 1
            total += 1
            log.write(f"{total}\n")
            with open("count") as f:
                last = f.readlines()[-1].strip()
            self.wfile.write(f"{mine} {total} {last}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server(("", int(os.environ["COUNTER"])), Counter).serve_forever()
