
width = 1080
height = 460
bar = 0.8 / series
spot(row, nth) = row + bar * (nth - 0.5 * (series - 1))
shade(nth) = word("#d6e4f2 #9cc3e6 #5b93c9 #1f4e8c #16365f #0d203a #d9822b #b45f06 #7f3f00 #4b5563 #1f2937", nth % 11 + 1)
stats "scale.dat" using 10 name "most" nooutput
eval begin(kind)
eval margins(78, 92)
set lmargin at screen 0.08
set rmargin at screen 0.97
set title "speed-up: N workers on N processors, tar on disk"
set key at screen 0.5, screen 1 - 12.0 / height center top horizontal maxrows 1 samplen 1.5
set xrange [-0.6:rows - 0.4]
set yrange [0:1.2 * (most_max > series ? most_max : series)]
set ylabel "times one worker on one processor"
set xlabel "device key"
set xtics ()
do for [i = 1:rows] { set xtics add (word(row_names, i) i - 1) }
set grid noxtics nomxtics
set style fill solid 1 border rgb "#374151"
top = most_max > series ? most_max : series
# A figure stands on its bar, or on the line above that when it is near.
lift(high, ideal) = high < ideal && ideal - high > 0.12 * top ? high : high > ideal ? high : ideal
plot for [i = 0:series - 1] "scale.dat" using ($2 == i ? spot($1, i) : NaN):8:9:10:(bar * 0.9) with boxerrorbars \
    fillcolor rgb shade(i) linewidth 0.9 title word(series_names, i + 1).(i == 0 ? " worker" : " workers"), \
    "" using (spot($1, $2) - 0.45 * bar):4:(0.9 * bar):(0) with vectors nohead linecolor rgb orange linewidth 2.5 \
    title "as many times as processors", \
    "" using (spot($1, $2)):(lift($10, $4)):(sprintf("%.2f", $8)) with labels offset 0, 0.7 font small notitle
