
width = 1080
height = 460
colour(nth) = word("#1f4e8c #d9822b #4b5563 #9cc3e6 #7f3f00 #111827 #5b93c9", nth % 7 + 1)
shape(nth) = word("7 5 9 6 4 8 13", nth % 7 + 1) + 0
eval begin(kind)
eval margins(70, 92)
set lmargin at screen 0.08
set rmargin at screen 0.97
set title case.": ratio to the floor, measurement by measurement"
set ylabel "times the floor of the same round"
set xrange [-0.5:rows - 0.5]
set yrange [0:*]
set xtics font small
set grid noxtics
set key at screen 0.5, screen 1 - 12.0 / height center top horizontal maxrows 1 samplen 2
set arrow from graph 0, first 1 to graph 1, first 1 nohead linecolor rgb black linewidth 1.5 dashtype 2
# A line goes on over other keys' measurements.
set datafile missing NaN
# Some ten names at most.
every_nth = ceil(rows / 10.0)
plot "history.dat" using 1:(NaN):xtic(int($1) % every_nth == 0 ? strcol(3) : "") notitle, \
    for [i = 0:series - 1] "history.dat" using ($2 == i ? $1 : NaN):4:5:6 with yerrorlines linecolor rgb colour(i) \
    pointtype shape(i) linewidth 1.6 title word(series_names, i + 1)
