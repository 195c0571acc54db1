"""Fifty correct solutions in LaTeX, of our own writing, each with its answer."""

SOLUTIONS: tuple[tuple[str, str], ...] = (
    # algebra
    (r"We solve $3x + 5 = 20$. Subtracting, $3x = 20 - 5 = 15$, so $x = \frac{15}{3} = 5$.", "5"),
    (r"From \(65 + 2xy = 105\) we get \(2xy = 105 - 65 = 40\), hence \(xy = \frac{40}{2} = 20\).", "20"),
    (
        r"Since $(x + y)^2 = x^2 + 2xy + y^2$, we have $x^2 + y^2 = 10^2 - 2 \cdot 21 = 100 - 42 = \boxed{58}$.",
        "58",
    ),
    (
        "\\begin{align*}\n2(a + 3) &= 4a - 2 \\\\\n2a + 6 &= 4a - 2 \\\\\n8 &= 2a\n\\end{align*}\nso $a = 8/2 = 4$.",
        "4",
    ),
    (r"By Vieta the roots of $x^2 - 7x + 12 = 0$ have the sum $7$; indeed $3 + 4 = 7$ and $3 \cdot 4 = 12$.", "7"),
    (r"The discriminant is $b^2 - 4ac = (-5)^2 - 4(2)(-3) = 25 + 24 = 49$, so its root is $\sqrt{49} = 7$.", "7"),
    (r"Adding $x + y = 11$ and $x - y = 3$ gives $2x = 14$, so $x = 7$, $y = 11 - 7 = \mathbf{4}$.", "4"),
    (r"Here $\log_2 32 = 5$ because $2^5 = 32$. So $\log_2 32 + 4 = 5 + 4 = 9$.", "9"),
    (
        r"$\frac{6}{\sqrt{3}} = \frac{6\sqrt{3}}{3} = 2\sqrt{3}$, whose square is $4 \cdot 3 = 12$.",
        "12",
    ),
    (r"Since $|x - 3| = 5$, either $x = 3 + 5 = 8$ or $x = 3 - 5 = -2$. The larger is $8$.", "8"),
    # functions
    (r"We compute $f(-2) = (-2)^2 - 3(-2) + 1 = 4 + 6 + 1 = 11$.", "11"),
    (r"With $f(x) = 2x + 1$ and $g(x) = x^2$: $f(g(3)) = f(9) = 2 \cdot 9 + 1 = 19$.", "19"),
    (r"Setting $y = 3x - 6$ to $9$ gives $3x = 15$, so $f^{-1}(9) = 5$.", "5"),
    (r"The derivative is $f'(x) = 6x - 4$, so $f'(2) = 6(2) - 4 = 12 - 4 = 8$.", "8"),
    (r"The vertex of $x^2 - 6x + 14$ is at $x = -\frac{-6}{2} = 3$, where it is $9 - 18 + 14 = 5$.", "5"),
    # fractions
    (r"The mean is \(\frac{3 + 5 + 10}{3} = \frac{18}{3} = 6\).", "6"),
    (r"$\frac{1}{2} + \frac{1}{3} = \frac{3}{6} + \frac{2}{6} = \frac{5}{6}$", "5/6"),
    (r"\[ 2\frac{3}{4} + 1\frac12 = \frac{11}{4} + \frac{6}{4} = \frac{17}{4} \]", "17/4"),
    (r"We divide: $\dfrac{\frac{3}{4}}{\frac{1}{8}} = \dfrac{3}{4} \cdot 8 = 6$.", "6"),
    (r"As $0.\overline{3} = \frac{1}{3}$, we get $6 \cdot \frac{1}{3} = 2$.", "2"),
    (
        r"The share is $\frac{12}{48} = \frac14 = 0.25 = 25\%$, so we have $\frac{25}{100} \cdot 80 = 20$.",
        "20",
    ),
    # sums and sequences
    (r"\[ 1 + 2 + 3 + \cdots + 100 = \frac{100 \cdot 101}{2} = 5050 \]", "5050"),
    (r"\[ \sum_{k=1}^{4} k^2 = 1 + 4 + 9 + 16 = 30 \]", "30"),
    (r"The tenth term is $a_{10} = a_1 + 9d = 3 + 9 \cdot 2 = 21$.", "21"),
    (r"A geometric series: $\frac{a}{1 - r} = \frac{6}{1 - \frac{1}{3}} = \frac{6}{\frac{2}{3}} = 9$.", "9"),
    (r"The sums are $S_1 = 2$, $S_2 = 2 + 4 = 6$ and $S_3 = 6 + 8 = 14$, so $S_3 - S_1 = 12$.", "12"),
    (r"With $F_1 = F_2 = 1$: $F_3 = 2$, $F_4 = 3$, $F_5 = 3 + 2 = 5$ and $F_6 = 5 + 3 = 8$.", "8"),
    (r"$\prod_{i=1}^{4} i = 4! = 24$ and $\frac{6!}{4!} = 6 \cdot 5 = 30$.", "30"),
    # geometry
    (r"By Pythagoras, $c = \sqrt{6^2 + 8^2} = \sqrt{36 + 64} = \sqrt{100} = 10$.", "10"),
    (r"$\angle C = 180^\circ - 50^\circ - 60^\circ = 70^\circ$", "70"),
    (r"The area is $\pi r^2 = \pi \cdot 3^2 = 9\pi$, and $\frac{9\pi}{\pi} = 9$.", "9"),
    (r"The triangle has the area $\frac{1}{2} \cdot 8\text{ cm} \cdot 5\text{ cm} = 20\text{ cm}^2$.", "20"),
    (r"$AB + BC = 5 + 7 = 12$, and $AC = AB + BC = 12$.", "12"),
    (r"[asy] draw((0,0)--(3,4)); real r = 3*2; [/asy] The distance is $\sqrt{(3-0)^2 + (4-0)^2} = 5$.", "5"),
    (r"$\sin 30^\circ = \frac12$, so the height is $10 \sin 30^\circ = 10 \cdot \frac{1}{2} = 5$.", "5"),
    (r"A regular hexagon has $\frac{6(6 - 3)}{2} = 9$ diagonals.", "9"),
    # inequalities
    (r"From $2x + 3 < 11$ we get $2x < 8$, so $x < 4$ and the largest integer is $4 - 1 = 3$.", "3"),
    (r"By AM-GM, $x + \frac{9}{x} \ge 2\sqrt{9} = 6$, with equality at $x = 3$.", "6"),
    (r"We need $n(n + 1) \le 60$. Since $7 \cdot 8 = 56 \leq 60 < 72 = 8 \cdot 9$, the largest is $n = 7$.", "7"),
    (r"$-3 \le x \le 4$ holds for $4 - (-3) + 1 = 8$ integers.", "8"),
    # modular arithmetic and number theory
    (r"$7^2 = 49 \equiv 1 \pmod{12}$, so $7^{10} = (7^2)^5 \equiv 1^5 = 1 \pmod{12}$.", "1"),
    (r"$17 \bmod 5 = 2$ because $17 = 3 \cdot 5 + 2$.", "2"),
    (r"$132_4 = 1 \cdot 4^2 + 3 \cdot 4 + 2 = 16 + 12 + 2 = 30$", "30"),
    (r"As $360 = 2^3 \cdot 3^2 \cdot 5$, it has $(3+1)(2+1)(1+1) = 24$ divisors.", "24"),
    (r"$\gcd(12, 18) = 6$ and $\text{lcm}(12, 18) = \frac{12 \cdot 18}{6} = 36$.", "36"),
    (r"$\lfloor 7/2 \rfloor + \lceil 7/2 \rceil = 3 + 4 = 7$", "7"),
    # probability and counting
    (r"$\binom{5}{2} = \frac{5!}{2!\,3!} = \frac{120}{2 \cdot 6} = 10$", "10"),
    (r"$P(\text{both red}) = \frac{3}{5} \cdot \frac{2}{4} = \frac{6}{20} = \frac{3}{10}$", "3/10"),
    (r"$|A \cup B| = |A| + |B| - |A \cap B| = 10 + 8 - 3 = 15$", "15"),
    (r"The cost is \$12{,}000 plus \$3,500, or $12{,}000 + 3{,}500 = 15{,}500$ dollars.", "15500"),
)
