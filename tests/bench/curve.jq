# A picture (SVG) of a rate over time, with moves shaded.
#   {title, subtitle, unit, seconds, points: [[s, value], ...], moves: [{from_s, to_s, label}, ...]}
def escaped: gsub("&"; "&amp;") | gsub("<"; "&lt;");
def text(x; y; class; anchor): "<text x=\"\(x)\" y=\"\(y)\" class=\"\(class)\" text-anchor=\"\(anchor)\">\(escaped)</text>";
# A step of 1, 2 or 5 times a power of ten that gives about `count` marks.
def nice_step(count): . / count | (log10 | floor | pow(10; .)) as $unit | . / $unit
	| $unit * (if . <= 1 then 1 elif . <= 2 then 2 elif . <= 5 then 5 else 10 end);

. as $in | 80 as $left | 1100 as $width | 90 as $top | 300 as $height
| ([$in.points[][1]] | max // 1 | if . > 0 then . * 1.1 else 1 end) as $most
| def x: . / $in.seconds * $width + $left | . * 10 | round / 10;
  def y: $top + $height - . / $most * $height | . * 10 | round / 10;
  ($most | nice_step(5)) as $row | ($in.seconds | nice_step(12)) as $column
| "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"440\" viewBox=\"0 0 1200 440\">",
  "<style>text{font-family:sans-serif;fill:#222}.title{font-size:19px;font-weight:bold}.label{font-size:13px;font-weight:bold}.axis{font-size:12px;fill:#555}.grid{stroke:#ddd}.move{fill:#f3c74f;fill-opacity:.35}.curve{fill:none;stroke:#3b6ea5;stroke-width:1.6}</style>",
  "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
  ($in.title | text($left; 34; "title"; "start")), ($in.subtitle | text($left; 56; "axis"; "start")),
  (range(0; $most; $row) | "<line class=\"grid\" x1=\"\($left)\" y1=\"\(y)\" x2=\"\($left + $width)\" y2=\"\(y)\"/>",
	(. as $v | "\($v) \($in.unit)" | text($left - 8; ($v | y) + 4; "axis"; "end"))),
  (range(0; $in.seconds; $column) | . as $s | "\($s) s" | text(($s | x); $top + $height + 20; "axis"; "middle")),
  ($in.moves[] | (.from_s | x) as $from | "<rect class=\"move\" x=\"\($from)\" y=\"\($top)\" width=\"\((.to_s | x) - $from)\" height=\"\($height)\"/>",
	(.label | text($from; $top - 8; "label"; "start"))),
  "<polyline class=\"curve\" points=\"\([$in.points[] | "\(.[0] | x),\(.[1] | y)"] | join(" "))\"/>",
  "</svg>"
