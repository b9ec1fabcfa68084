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

def number_text: if . == null then "-" elif type == "number" then
	(if . >= 100 or . == floor then rounded(0) elif . >= 10 then rounded(1) else rounded(2) end | tostring) else tostring end;

# A median with its spread, for a table.
def spread_text: if type != "object" then number_text elif .min == .max then .median | number_text
	else "\(.median | number_text) (\(.min | number_text)..\(.max | number_text))" end;

# Tab-separated lines of these columns of a list of objects.
def table(columns): (columns | map(gsub("_"; " "))), (.[] as $row | columns | map($row[.] | spread_text)) | @tsv;
