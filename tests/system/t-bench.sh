#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What benchmarks and memory checks compute: it is worth nothing if it cannot be wrong.
# shellcheck disable=SC2016,SC2034,SC2154 # single quotes: programs for jq; variables of lib.sh

# As if benchmark NAME had begun, without another lab.
bench_of_its_own() { # NAME
	# shellcheck source=tests/bench/lib.sh
	source "$top/tests/bench/lib.sh"
	out=$lab_dir bench_name=$1 rows=$lab_dir/$1-rows.jsonl notes=$lab_dir/$1-notes load_before=0.1
	: >"$rows"
	: >"$notes"
}

test_rows_medians_and_tables() {
	local json
	bench_of_its_own smoke
	row side=a memory_mb=64 bytes_sent=67108864 gap_ms=10 engine=
	row side=a memory_mb=64 bytes_sent=134217728 gap_ms=30 engine=
	row side=b memory_mb=64 gap_ms=7.5 engine=x
	note "without c, which is not there" 2>/dev/null
	note "without c, which is not there" 2>/dev/null
	assert_contains "$(bench_report "side memory_mb" "gap_ms sent_share")" "a     64         20 (10..30)  1.5 (1..2)"
	json=$out/smoke.json
	jq -e '(.rows | length == 3) and .rows[0].engine == null and .machine.cores > 0 and .machine.versions.criu != null' "$json" >/dev/null || die "$(cat "$json")"
	assert_eq '[["without c, which is not there"],[]]' "$(jq -c '[.notes, .goals]' "$json")" "notes and goals"
	assert_eq '[{"side":"a","runs":2,"gap":{"median":20,"min":10,"max":30}},{"side":"b","runs":1,"gap":{"median":7.5,"min":7.5,"max":7.5}}]' \
		"$(jq -c '.summary | map({side, runs, gap: .gap_ms})' "$json")" summary
	assert_eq '[2,3,null,4]' "$(bench_jq -nc 'include "lib"; [([1, 2, 3] | median), ([1, 2, 3, 4] | quantile(0.5)), ([] | median), ([4] | quantile(0.99))]')" quantiles
}

# A row says whose it is, and its figures are numbers.
test_rows_that_are_none() {
	bench_of_its_own bad
	if bench_report side gap_ms >/dev/null 2>&1; then die "a report of nothing"; fi
	row memory_mb=64 gap_ms=1
	if bench_report side gap_ms >/dev/null 2>&1; then die "a row of nobody"; fi
	row side=a gap_ms=soon
	sed -i 1d "$rows"
	if bench_report side gap_ms >/dev/null 2>&1; then die "a figure that is none"; fi
	[ ! -e "$out/bad.json" ] || die "it was written all the same"
}

# A move becomes a row with its figures and phases; the goals are computed of the medians.
test_rows_of_moves_and_their_goals() {
	local json
	bench_of_its_own goals
	gaps() { # WORKLOAD SIDE MB GAP...
		printf '{"engine":"track","rounds":2,"client_gap_ms":%s,"downtime_ms":20,"total_ms":900,"transferred_bytes":67108864,"phases":{"freeze":0.5}}\n' \
			"${@:4}" | rows_of_moves workload="$1" side="$2" memory_mb="$3" dirty_mb_s=50
	}
	gaps dirtier ours 64 20 30
	gaps dirtier ours 8256 105
	gaps dirtier criu 8256 9000
	gaps redis ours 16 40
	gaps redis ours 1024 120
	gaps redis podman 1024 2400
	bench_report "workload side memory_mb dirty_mb_s" client_gap_ms move_goals >/dev/null
	json=$out/goals.json
	assert_eq '["bytes_sent","client_gap_ms","dirty_mb_s","downtime_ms","engine","freeze_ms","memory_mb","rounds","sent_share","side","total_ms","workload"]' \
		"$(jq -c '.rows[0] | keys' "$json")" "a row"
	assert_eq '[[9.3,10,null,true],[3,2.5,null,false],[20,null,10,true]]' \
		"$(jq -c '.goals | map([(.value * 10 | round / 10), .most, .least, .met])' "$json")" goals
}

test_goals_of_links() {
	bench_of_its_own links
	row side=link streams=1 gb_s=0.8
	row side=pump streams=1 gb_s=1
	row side=pump streams=2 gb_s=2
	row side=link streams=2 gb_s=1.9
	row side=cipher streams=1 gb_s=4
	assert_contains "$(bench_report "streams side" gb_s stream_goals)" "in that of a pump, 1 streams  0.8    -     0.9    false"
	assert_eq '[[0.8,false],[0.95,true]]' "$(jq -c '.goals | map([.value, .met])' "$out/links.json")" goals
}

# A byte changed from outside is seen.
test_memwriter_sees_a_changed_word() {
	local said=$lab_dir/said pid at
	rm -f "$said"
	in_host hostA memwriter single 16 "$said" &
	wait_until 10 grep -q ok "$said"
	pid=$(in_host hostA pgrep -x memwriter)
	at=$(in_host hostA awk '$2 == "rw-p" && NF == 5 { sub("-", " ", $1); print $1 }' "/proc/$pid/maps" |
		while read -r from to; do [ $((16#$to - 16#$from)) -lt $((16 << 20)) ] || echo $((16#$from + (8 << 20) + 1000)); done | head -n 1)
	printf x | in_host hostA dd of="/proc/$pid/mem" bs=1 seek="$at" conv=notrunc status=none
	wait_until 10 grep -q '^bad area [0-9a-f]* page 20[0-9][0-9] ' "$said" || die "it says $(cat "$said")"
	in_host hostA kill "$pid"
}

test_pump_brings_what_it_got() {
	head -c 3000000 /dev/urandom >"$lab_dir/pumped"
	client tlspump receive 10.77.0.100 7998 >"$lab_dir/arrived" &
	in_host hostA tlspump send 10.77.0.100 7998 <"$lab_dir/pumped"
	wait $!
	cmp "$lab_dir/pumped" "$lab_dir/arrived"
}

# The picture of a demo: what was waited through is seen, however short, and no number is none.
test_curve_with_moves() {
	local svg
	svg=$(jq -nc '{title: "a < b", subtitle: "", unit: "tps", seconds: 10, points: [range(40) | [. / 4, . * 10]],
		moves: [{from_s: 2, to_s: 4, gap_from_s: 3, gap_to_s: 3.01, labels: ["A → B", "short"]},
			{from_s: 8, to_s: 9, gap_from_s: 8.2, gap_to_s: 8.8, labels: ["B → A", "long"]}]}' | jq -r -f "$top/tests/bench/curve.jq")
	assert_eq 'x="290" y="112" width="220" x="950" y="112" width="110"' "$(grep -o 'class="move" x="[0-9]*" y="112" width="[0-9.]*"' <<<"$svg" | cut -d ' ' -f 2- | xargs -d '\n')" "moves"
	assert_eq '1.5 66' "$(grep -o 'class="gap" x="[0-9.]*" y="112" width="[0-9.]*"' <<<"$svg" | grep -o '[0-9.]*"$' | tr -d '"' | xargs)" "gaps"
	assert_contains "$svg" "a &lt; b"
	! grep -q 'null\|nan' <<<"$svg" || die "$svg"
}
