package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints a completion script made from the command line itself.
type completionCmd struct {
	Shell string `arg:"" enum:"bash, zsh, fish" help:"One of ${enum}."`
}

// Run implements the command.
func (c *completionCmd) Run(g *Globals) error {
	words := map[string][]string{} // path of commands → what may follow
	collect(g.parser.Model.Node, "", words)
	// The longest path first: the scripts take the first that matches.
	paths := slices.SortedFunc(maps.Keys(words), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	var b strings.Builder
	switch c.Shell {
	case "fish":
		for _, path := range paths {
			next := words[path]
			cond := "__fish_use_subcommand"
			if path != "" {
				parts := strings.Fields(path)
				cond = "__fish_seen_subcommand_from " + parts[len(parts)-1]
			}
			for _, w := range next {
				if strings.HasPrefix(w, "--") {
					fmt.Fprintf(&b, "complete -c landlord -n %q -l %s\n", cond, w[2:])
				} else {
					fmt.Fprintf(&b, "complete -c landlord -f -n %q -a %s\n", cond, w)
				}
			}
		}
	default:
		if c.Shell == "zsh" {
			b.WriteString("#compdef landlord\nautoload -U +X bashcompinit && bashcompinit\n")
		}
		b.WriteString("_landlord() {\n  local path=\"\" w\n  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do case $w in -*) ;; *) path=\"$path $w\" ;; esac; done\n  case \"${path# }\" in\n")
		for _, path := range paths {
			next := words[path]
			fmt.Fprintf(&b, "    %q*) COMPREPLY=($(compgen -W %q -- \"${COMP_WORDS[COMP_CWORD]}\")) ;;\n", path, strings.Join(next, " "))
		}
		b.WriteString("  esac\n}\ncomplete -o default -F _landlord landlord\n")
	}
	_, err := fmt.Fprint(g.out, b.String())
	return err
}

func collect(n *kong.Node, path string, words map[string][]string) {
	var next []string
	for _, c := range n.Children {
		if c.Type != kong.CommandNode || c.Hidden {
			continue
		}
		next = append(next, c.Name)
		collect(c, strings.TrimSpace(path+" "+c.Name), words)
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			next = append(next, "--"+f.Name)
		}
	}
	words[path] = next
}
