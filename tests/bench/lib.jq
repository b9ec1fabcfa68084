# What the benchmarks compute of lists of numbers. Used with: jq -L tests/bench 'include "lib"; ...'

def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;

# The value that a share p (0 to 1) of all is not above.
def quantile(p): sort | if length == 0 then null else .[((length - 1) * p) | round] end;

def spread: map(numbers) | if length == 0 then null else {median: median, min: min, max: max} end;

def rounded(digits): if type != "number" then . else (pow(10; digits)) as $f | . * $f | round / $f end;

# Rows that agree in `keys` as one, with the median and the spread of every other number.
def summary(keys): [group_by(map_values(.) | [.[keys[]]])[]
	| (.[0] | with_entries(select(.key | IN(keys[])))) as $who
	| ([.[] | keys_unsorted[]] | unique - keys - ["run"]) as $fields
	| . as $rows
	| $who + {runs: length} + ([$fields[] | . as $f | {($f): ($rows | map(.[$f]) | spread)}] | add // {})];

# What a row implies: bytes that were sent, in memories.
def shares: if .memory_mb and .bytes_sent then .sent_share = .bytes_sent / .memory_mb / 1048576 else . end;

# A move, as relocate() of workload.sh says it, as a row. What moves without an engine has no rounds.
def move_row: {engine, rounds: (.rounds // 0), client_gap_ms, downtime_ms, total_ms, bytes_sent: .transferred_bytes}
	+ (.phases // {} | with_entries(.key += "_ms"));

# The whole of a benchmark, of its rows. A row that does not say whose it is, or figures that are none, are an error.
def report(machine; notes; keys): map(shares)
	| if length == 0 then error("no rows") else . end
	| map(if .side | type != "string" then error("a row without a side: \(.)") else . end)
	| map(with_entries(if (.key | test("_(ms|mb|mb_s)$")) and (.value | type | . != "number" and . != "null")
		then error("no number: \(.)") else . end))
	| {machine: machine, rows: ., notes: notes, summary: summary(keys)};

# ---- what benchmarks are judged by, of their summaries
def judged: .met = (if .value == null then null elif .most then .value <= .most elif .least then .value >= .least else null end);

# How much longer the client waits for each GB (1e9) more, from the smallest to the largest; of less than
# 1 GB it is nothing to judge by.
def gap_growth(most): sort_by(.memory_mb) | select(length > 1) | (.[-1].memory_mb - .[0].memory_mb) as $mb | select($mb > 0)
	| {goal: "\(.[0].workload), \(.[0].dirty_mb_s) MB/s, \(.[0].memory_mb) to \(.[-1].memory_mb) MB: gap, ms per GB more",
	   value: ((.[-1].client_gap_ms.median - .[0].client_gap_ms.median) / ($mb * 1048576 / 1e9)), most: (if $mb >= 1024 then most else null end)};

def redis_goals: map(select(.workload == "redis")) | (map(select(.side == "ours")) | sort_by(.memory_mb)) as $ours
	| select($ours | length > 1) | $ours[0] as $small | $ours[-1] as $large
	| {goal: "gap of a Redis of \($large.memory_mb) MB, in those of one of \($small.memory_mb) MB",
	   value: ($large.client_gap_ms.median / $small.client_gap_ms.median), most: 2.5},
	  (.[] | select(.side != "ours" and .memory_mb == $large.memory_mb)
		| {goal: "gap of \(.side), Redis of \(.memory_mb) MB, in ours", value: (.client_gap_ms.median / $large.client_gap_ms.median), least: 10});

def move_goals: ((map(select(.side == "ours" and .workload == "dirtier")) | group_by(.dirty_mb_s)[] | gap_growth(10)),
	(map(select(.side == "ours" and .workload == "huge")) | group_by(.dirty_mb_s)[] | gap_growth(null)), redis_goals) | judged;

# Our links beside the least that OpenSSL needs.
def stream_goals: group_by(.streams)[] | (map(select(.side == "link"))[0]) as $link | map(select(.side == "pump"))[]
	| {goal: "rate of a link, in that of a pump, \(.streams) streams", value: ($link.gb_s.median / .gb_s.median), least: 0.9} | judged;

# What a workload notices of being copied while it runs, in what it was just before.
def track_goals: ((.[] | select(.throughput_during)
		| {goal: "throughput of \(.side) while it is copied, in that before", value: .throughput_during.median, least: 0.9}),
	(.[] | select(.during_p999_ms and .before_p999_ms)
		| {goal: "p99.9 of the \(.side) while it is copied, in that before", value: (.during_p999_ms.median / .before_p999_ms.median)})) | judged;

def number_text: if . == null then "-" elif type == "number" then
	(if fabs >= 100 or . == floor then rounded(0) elif fabs >= 10 then rounded(1) else rounded(2) end | tostring) else tostring end;

# A median with its spread, for a table.
def spread_text: if type != "object" then number_text elif .min == .max then .median | number_text
	else "\(.median | number_text) (\(.min | number_text)..\(.max | number_text))" end;

# Tab-separated lines of these columns of a list of objects.
def table(columns): (columns | map(gsub("_"; " "))), (.[] as $row | columns | map($row[.] | spread_text)) | @tsv;
