
# What all plots share: one file as `kind` says, colours that differ in grey too, a light grid, the machine below.
if (!exists("kind")) kind = "png"
black = "#111827"
blue = "#1f4e8c"
sky = "#9cc3e6"
orange = "#d9822b"
grey = "#4b5563"
terminal(kind) = kind eq "svg" \
    ? sprintf("set terminal svg noenhanced size %d,%d background '#ffffff' font 'DejaVu Sans,13' name '%s'", \
              width, height, name) \
    : sprintf("set terminal pngcairo noenhanced size %d,%d background '#ffffff' font 'DejaVu Sans,10' " \
              . "fontscale 2 linewidth 2 pointscale 2", 2 * width, 2 * height)
# Leaves so many pixels above and below what is drawn.
margins(top, bottom) = sprintf("set tmargin at screen %g; set bmargin at screen %g", \
                               1 - 1.0 * top / height, 1.0 * bottom / height)
small = "DejaVu Sans,".(kind eq "svg" ? 11 : 8)
set border 3 linecolor rgb "#9ca3af"
set tics nomirror scale 0.5 textcolor rgb black
set grid xtics ytics mxtics linetype 1 linecolor rgb "#d1d5db" linewidth 1, linetype 1 linecolor rgb "#eef0f3" linewidth 1
# To be evaluated when width and height are known.
begin(kind) = terminal(kind).sprintf("; set output '%s.%s'; set label 99 where at screen 0.5, %g center font small " \
                                     ."textcolor rgb grey", name, kind, 12.0 / height)
