
width = 1080
height = 176 + 52 * series
step(us) = us eq "NaN" ? "" : sprintf("  (%+.1f)", real(us))
stats "ladder.dat" using 7 name "cost" nooutput
stats "ladder.dat" using 11 name "wall" nooutput
eval begin(kind)
set multiplot
eval margins(50, 96)
set yrange [series - 0.5:-0.5]
set style fill solid 1 border rgb "#374151"
set grid noytics
unset key

set lmargin at screen 0.18
set rmargin at screen 0.55
set title word(row_names, 1).": cost of a device (and of the step)"
set xlabel "microseconds of processor time"
set xrange [0:1.4 * cost_max]
plot "ladder.dat" using 5:2:(0):5:($2 - 0.3):($2 + 0.3):ytic(4) with boxxyerror fillcolor rgb sky linewidth 0.7, \
    "" using 5:2:6:7 with xerrorbars pointtype 1 pointsize 0 linecolor rgb black linewidth 1.2, \
    "" using 7:2:(sprintf("%.1f", $5).step(strcol(8))) with labels left offset 0.8, 0 font small
unset label 99

set lmargin at screen 0.6
set rmargin at screen 0.97
set title "rate by the clock, all processors"
set xlabel "devices per second"
set xrange [0:1.25 * wall_max]
# At most five tics, at 2, 5 or 10 times a power of ten.
power = 10 ** floor(log10(wall_max / 4.0))
lead = wall_max / 4.0 / power
set xtics power * (lead < 2 ? 2 : lead < 5 ? 5 : 10)
plot "ladder.dat" using 9:2:(0):9:($2 - 0.3):($2 + 0.3):ytic("") with boxxyerror fillcolor rgb blue linewidth 0.7, \
    "" using 9:2:10:11 with xerrorbars pointtype 1 pointsize 0 linecolor rgb orange linewidth 1.6, \
    "" using 11:2:(sprintf("%.0f", $9)) with labels left offset 0.8, 0 font small
unset multiplot
