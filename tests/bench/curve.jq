# A picture (SVG) of a rate over time, with moves shaded, and what of them the clients waited through.
#   {title, subtitle, unit, seconds, points: [[s, value], ...],
#    moves: [{from_s, to_s, gap_from_s, gap_to_s, labels: [line, ...]}, ...]}
def escaped: gsub("&"; "&amp;") | gsub("<"; "&lt;");
def text(x; y; class; anchor): "<text x=\"\(x)\" y=\"\(y)\" class=\"\(class)\" text-anchor=\"\(anchor)\">\(escaped)</text>";
def box(x; y; width; height; class): "<rect class=\"\(class)\" x=\"\(x)\" y=\"\(y)\" width=\"\(width * 10 | round / 10)\" height=\"\(height)\"/>";
# A step of 1, 2 or 5 times a power of ten that gives about `count` marks.
def nice_step(count): . / count | (log10 | floor | pow(10; .)) as $unit | . / $unit
	| $unit * (if . <= 1 then 1 elif . <= 2 then 2 elif . <= 5 then 5 else 10 end);

. as $in | 70 as $left | 1100 as $width | 112 as $top | 280 as $height | ($top + $height) as $bottom
| ([$in.points[][1]] | max // 1 | if . > 0 then . * 1.05 else 1 end) as $most
| def x: . / $in.seconds * $width + $left | . * 10 | round / 10;
  def y: $bottom - . / $most * $height | . * 10 | round / 10;
  ($most | nice_step(5)) as $row | ($in.seconds | nice_step(12)) as $column
| "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"450\" viewBox=\"0 0 1200 450\">",
  "<style>text{font-family:sans-serif;fill:#222}.title{font-size:19px;font-weight:bold}.label{font-size:13px}.axis{font-size:12px;fill:#555}.grid{stroke:#e4e4e4}.move{fill:#f3c74f;fill-opacity:.3}.gap{fill:#c8432b;fill-opacity:.75}.area{fill:#3b6ea5;fill-opacity:.12}.curve{fill:none;stroke:#3b6ea5;stroke-width:1.6;stroke-linejoin:round}</style>",
  "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
  ($in.title | text($left; 30; "title"; "start")), ($in.subtitle | text($left; 52; "axis"; "start")),
  (range(0; $most; $row) | y as $y | "<line class=\"grid\" x1=\"\($left)\" y1=\"\($y)\" x2=\"\($left + $width)\" y2=\"\($y)\"/>",
	(tostring | text($left - 8; $y + 4; "axis"; "end"))),
  ($in.unit | text($left - 8; $top - 8; "axis"; "end")),
  (range(0; $in.seconds; $column) | x as $x | "\(.) s" | text($x; $bottom + 20; "axis"; "middle")),
  ($in.moves[] | (.from_s | x) as $from | box($from; $top; (.to_s | x) - $from; $height; "move"),
	(if .from_s > $in.seconds * 0.75 then [(.to_s | x), "end"] else [$from, "start"] end) as [$at, $anchor]
		| .labels | to_entries[] | .key as $i | .value | text($at; $top - 24 + 16 * $i; "label"; $anchor)),
  ($in.points | map("\(.[0] | x),\(.[1] | y)") | join(" ")
	| "<polygon class=\"area\" points=\"\($in.points[0][0] | x),\($bottom) \(.) \($in.points[-1][0] | x),\($bottom)\"/>",
	  "<polyline class=\"curve\" points=\"\(.)\"/>"),
  ($in.moves[] | select(.gap_from_s != null) | (.gap_from_s | x) as $from
	| box($from; $top; [1.5, (.gap_to_s | x) - $from] | max; $height; "gap")),
  "<line stroke=\"#555\" x1=\"\($left)\" y1=\"\($bottom)\" x2=\"\($left + $width)\" y2=\"\($bottom)\"/>",
  box($left; $bottom + 34; 14; 12; "move"), ("the move: memory is copied while it runs" | text($left + 20; $bottom + 44; "axis"; "start")),
  box($left + 290; $bottom + 34; 14; 12; "gap"), ("the longest that a client waited during it" | text($left + 310; $bottom + 44; "axis"; "start")),
  "</svg>"
