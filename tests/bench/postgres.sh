#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A PostgreSQL in a partition with pgbench on it. Sourced after lib.sh; $work is a folder for files.
# shellcheck disable=SC2154,SC2034 # work, lab_dir: the caller's; buffers_mb, before: for it
# shellcheck source=tests/system/images.sh
source "$(dirname "${BASH_SOURCE[0]}")/../system/images.sh"
clients=8
address=10.77.0.70

sql() { client psql -h $address -U postgres -X -q -A -t -c "$1"; }
# Who is connected, as PostgreSQL itself sees it: another process or a later start is another connection.
connections() { sql "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY pid"; }
all_connected() { [ "$(connections | wc -l)" = $clients ]; }

start_postgres() {
	local root=$lab_dir/shared/postgres
	base_root "$root"
	postgres_programs "$root" pg_prewarm pg_buffercache
	in_host hostA wparctl create postgres --rootfs /srv/shared/postgres --address $address/24 --bridge br0 --user 117:124 \
		--env PGDATA=/var/lib/postgresql/data --start -- /usr/bin/start -c max_connections=40 -c shared_buffers=800MB \
		-c max_wal_size=8GB -c wal_level=minimal -c max_wal_senders=0 -c max_parallel_workers_per_gather=0 -c autovacuum=off
	wait_until 30 sql 'SELECT 1'
}

fill_postgres() { # SCALE
	client "$postgres_bin/pgbench" -h $address -U postgres -q -i -I dtGvp -s "$1" postgres 2>"$work/fill.log"
	sql 'CREATE EXTENSION pg_prewarm; CREATE EXTENSION pg_buffercache;'
	sql "SELECT pg_prewarm(c.oid) FROM pg_class c WHERE relname LIKE 'pgbench_%' AND relkind IN ('r', 'i')" >/dev/null
	buffers_mb=$(sql 'SELECT count(*) * 8 / 1024 FROM pg_buffercache WHERE relfilenode IS NOT NULL')
}

# One line for each transaction: client, number, microseconds, script, and when it ended.
start_clients() { # SECONDS
	# shellcheck disable=SC2016 # expands there
	client sh -c 'echo $$ >/run/pgbench.pid; exec "$@"' _ "$postgres_bin/pgbench" -h $address -U postgres -n -c $clients -j 2 -T "$1" \
		-l --log-prefix="$work/transactions" postgres >"$work/pgbench" 2>&1 &
	clients_job=$!
	wait_until 20 all_connected
	before=$(connections)
}
