
width = 1080
panel = 205.0
height = 134 + panel * rows
colour(nth) = word("#9ca3af ".blue, nth + 1)
stats "keytime.dat" index 1 using ($3 / 1000) name "from" nooutput
stats "keytime.dat" index 1 using ($4 / 1000) name "to" nooutput
stats "keytime.dat" index 1 using 5 name "share" nooutput
array samples[2 * rows]
do for [i = 0:2 * rows - 1] {
    stats "keytime.dat" index 0 using ($1 == i / 2 && $2 == i % 2 ? $5 : NaN) name "count" nooutput
    samples[i + 1] = count_max
}
eval begin(kind)
set multiplot
set lmargin at screen 0.08
set rmargin at screen 0.97
set logscale x
set xrange [from_min / 1.3:to_max * 1.3]
set yrange [0:1.1 * share_max]
set format x "%g"
set ylabel "% of samples"
set key at screen 0.5, screen 1 - 12.0 / height center top horizontal maxrows 1 samplen 2
do for [row = 0:rows - 1] {
    eval margins(62 + panel * row, height - panel * (row + 1) - 12)
    set title sprintf("%s: %d samples of libcrypto, %d of own", word(row_names, row + 1), samples[2 * row + 1], samples[2 * row + 2]) \
        offset 0, -0.6
    if (row == rows - 1) { set xlabel "milliseconds of processor time for a key (log scale)" }
    plot for [i = 0:series - 1] "keytime.dat" index 1 \
        using ($1 == row && $2 == i ? sqrt($3 * $4) / 1000 : NaN):5:($3 / 1000):($4 / 1000):(0):5 with boxxyerror \
        fillstyle transparent solid 0.65 border rgb "#374151" fillcolor rgb colour(i) linewidth 0.8 \
        title word(series_names, i + 1), \
        "keytime.dat" index 0 using ($1 == row && $2 == 0 ? $6 / 1000 : NaN):(0):(0):(100) with vectors nohead \
        linecolor rgb black linewidth 1.5 dashtype 3 title "p50 of libcrypto", \
        "" index 0 using ($1 == row && $2 == 1 ? $6 / 1000 : NaN):(0):(0):(100) with vectors nohead \
        linecolor rgb black linewidth 1.5 dashtype 1 title "p50 of own"
    unset label 99
    unset key
}
unset multiplot
