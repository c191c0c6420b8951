
width = 1080
height = 176 + 62 * rows
shape(nth) = word("6 4 7 9", nth + 1) + 0
colour(nth) = word(black." ".blue." ".orange." ".grey, nth + 1)
place(row, nth) = row + 0.2 * (nth - 0.5 * (series - 1))
# A floor alone has no ratios.
if (series > 1) { stats "rates.dat" using 7 name "ratio" nooutput }
eval begin(kind)
set multiplot
eval margins(78, 96)
set yrange [rows - 0.4:-0.6]
set ytics ()

set lmargin at screen 0.15
set rmargin at screen (series > 1 ? 0.56 : 0.97)
set title "rate (whiskers: least and most of the rounds)"
set xlabel "certificates per processor-second (log scale)"
set ylabel "device key/CA key"
do for [i = 1:rows] { set ytics add (word(row_names, i) i - 1) }
set logscale x
set format x "%g"
set key at screen 0.5, screen 1 - 12.0 / height center top horizontal maxrows 1 samplen 1
plot for [i = 0:series - 1] "rates.dat" using ($2 == i ? $4 : NaN):(place($1, i)):5:6 with xerrorbars \
    linecolor rgb colour(i) pointtype shape(i) pointsize 1.1 linewidth 1.4 title word(series_names, i + 1)
unset label 99

if (series > 1) {
    set lmargin at screen 0.6
    set rmargin at screen 0.97
    set title "ratio to the floor"
    set xlabel "times the floor of the same round".(ratio_max > 4 ? " (log scale)" : "")
    unset ylabel
    unset key
    do for [i = 1:rows] { set ytics add ("" i - 1) }
    unset logscale x
    set xrange [0:1.2 * (ratio_max > 1 ? ratio_max : 1)]
    if (ratio_max > 4) {
        set logscale x
        set xrange [0.7 * (ratio_min < 1 ? ratio_min : 1):3 * ratio_max]
        set xtics (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    }
    set arrow from first 1, graph 0 to first 1, graph 1 nohead linecolor rgb black linewidth 1.5 dashtype 2 front
    plot for [i = 1:series - 1] "rates.dat" using ($2 == i ? $7 : NaN):(place($1, i)):8:9 with xerrorbars \
        linecolor rgb colour(i) pointtype shape(i) pointsize 1.1 linewidth 1.4, \
        for [i = 1:series - 1] "rates.dat" using ($2 == i ? $9 : NaN):(place($1, i)):(sprintf("%.2f", $7)) \
        with labels left offset 0.8, 0 font small textcolor rgb colour(i)
}
unset multiplot
