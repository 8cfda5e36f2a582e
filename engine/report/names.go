package report

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/run"
)

// names keeps the folders of this machine, and with them who its user is, out of a page that is passed on: of a path
// the last two elements stay.
type names []string // folders that are known from the settings, the longest first

// absolute is a path from the root after what may stand before one: a URL is none.
var absolute = regexp.MustCompile(`(^|[\s"'(=,;:\[#])` + // what stands before
	`(?:[A-Za-z]:[\\/]|\\\\|[~.]?/)` + // the root
	`(?:[^\\/\n;:"'<>|]*[^\\/\s;:"'<>|][\\/])+` + // folders
	`([^\\/\s;:,"'<>|()\[\]]*)`)

func namesOf(c run.Config) names {
	var list names
	for _, e := range c {
		path := filepath.ToSlash(e.Text)
		if !rooted(path) || strings.Contains(path, "\n") {
			continue
		}
		if at := strings.LastIndex(strings.TrimRight(path, "/"), "/"); at > 0 {
			list = append(list, path[:at+1])
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(list)
}

func rooted(path string) bool {
	return strings.HasPrefix(path, "/") || strings.HasPrefix(path, `\\`) || strings.HasPrefix(path, "~/") ||
		len(path) > 2 && path[1] == ':' && (path[2] == '/' || path[2] == '\\')
}

// in is a text without the folders of paths in it.
func (n names) in(text string) string {
	for _, folder := range n {
		text = strings.ReplaceAll(text, folder, "./")
	}
	return absolute.ReplaceAllStringFunc(text, func(found string) string {
		parts := absolute.FindStringSubmatch(found)
		return parts[1] + source(strings.TrimPrefix(found, parts[1]))
	})
}

// setting is the value of a setting as it is shown.
func (n names) setting(text string) string {
	if rooted(filepath.ToSlash(text)) && !strings.ContainsAny(text, "\n,") {
		return source(text)
	}
	return n.in(text)
}

// settings are all as they are shown.
func (n names) settings(c run.Config) run.Config {
	c = slices.Clone(c)
	for i := range c {
		c[i].Text = n.setting(c[i].Text)
	}
	return c
}

// home is the folder of a user, whose name is nobody's business.
var home = regexp.MustCompile(`^(?:[A-Za-z]:)?/(?:home|Users)/[^/]+/|^/root/|^~/`)

// source is the last two elements of a path: what tells data sets apart.
func source(path string) string {
	path = strings.ReplaceAll(path, `\`, "/")
	parts := strings.Split(strings.Trim(home.ReplaceAllString(path, ""), "/"), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}
