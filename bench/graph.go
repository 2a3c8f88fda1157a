package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// curve is one line of a chart.
type curve struct {
	name, colour string
	x, y         []float64
}

// chart is one pair of axes. With log, y grows by powers of ten, and what is
// not above 0 is left out.
type chart struct {
	title  string
	log    bool
	curves []curve
}

// Measures of a drawing, in pixels.
const (
	graphWidth, chartHeight = 820.0, 220.0
	left, right             = 70.0, 90.0
	above, below            = 34.0, 30.0
)

// draw draws charts one below the other, over the same x, as SVG.
func draw(xName string, charts []chart) []byte {
	var b bytes.Buffer
	height := chartHeight * float64(len(charts))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", graphWidth, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", graphWidth, height)
	for i := range charts {
		fmt.Fprintf(&b, `<g transform="translate(0 %g)">`+"\n", chartHeight*float64(i))
		charts[i].draw(&b, xName)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c *chart) draw(b *bytes.Buffer, xName string) {
	const width, height = graphWidth - left - right, chartHeight - above - below
	xMost, yLeast, yMost := c.bounds()
	xTicks, xMost := ticks(xMost)
	var yTicks []float64
	if c.log {
		yLeast, yMost = math.Pow(10, math.Floor(math.Log10(yLeast))), math.Pow(10, math.Ceil(math.Log10(yMost)))
		for v := yLeast; v < yMost*1.5; v *= 10 {
			yTicks = append(yTicks, v)
		}
	} else {
		yLeast = 0
		yTicks, yMost = ticks(yMost)
	}
	x := func(v float64) float64 { return left + width*v/xMost }
	y := func(v float64) float64 {
		share := (v - yLeast) / (yMost - yLeast)
		if c.log {
			share = math.Log(v/yLeast) / math.Log(yMost/yLeast)
		}
		return above + height*(1-share)
	}
	fmt.Fprintf(b, `<text x="%g" y="20" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(c.title))
	for _, v := range yTicks {
		fmt.Fprintf(b, `<path d="M%g %.1fH%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%.6g</text>`+"\n", left, y(v), left+width, left-6, y(v)+4, v)
	}
	for _, v := range xTicks {
		fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%.6g</text>`+"\n", x(v), above+height+16, v)
	}
	fmt.Fprintf(b, `<text x="%g" y="%g">%s</text>`+"\n", left+width+14, above+height+16, html.EscapeString(xName))
	names := 0
	for _, line := range c.curves {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, line.colour)
		for i, v := range line.y {
			if c.log && v <= 0 {
				continue
			}
			fmt.Fprintf(b, "%.1f,%.1f ", x(line.x[i]), y(v))
		}
		b.WriteString(`"/>` + "\n")
		if line.name != "" {
			fmt.Fprintf(b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", left+width+10, above+12+16*float64(names), line.colour, html.EscapeString(line.name))
			names++
		}
	}
}

// bounds returns the largest x, and the least and the largest y that are drawn.
func (c *chart) bounds() (xMost, yLeast, yMost float64) {
	yLeast = math.Inf(1)
	for _, line := range c.curves {
		for i, v := range line.y {
			xMost = max(xMost, line.x[i])
			if !c.log || v > 0 {
				yLeast, yMost = min(yLeast, v), max(yMost, v)
			}
		}
	}
	if xMost <= 0 {
		xMost = 1
	}
	if yMost <= 0 {
		yLeast, yMost = 0.1, 1
	}
	if c.log && yLeast == yMost {
		yMost *= 1.1
	}
	return xMost, yLeast, yMost
}

// ticks returns round numbers from 0 to the first that is not below most, which
// comes second.
func ticks(most float64) (all []float64, end float64) {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, share := range []float64{0.1, 0.2, 0.5, 1, 2} {
		if most/(step*share) <= 6 {
			step *= share
			break
		}
	}
	n := int(math.Ceil(most/step - 1e-9))
	for i := range n + 1 {
		all = append(all, float64(i)*step)
	}
	return all, float64(n) * step
}
