package action

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

type values struct {
	text   string
	list   []string
	flag   bool
	layers LayerOutputs
}

func parse(args ...string) (*values, error) {
	v := &values{}
	flags := Flags{
		"--text":   Text(&v.text),
		"--list":   List(&v.list),
		"--switch": Switch(&v.flag),
		"--odd":    func(value string) error { return fmt.Errorf("%q: want an even number", value) },
	}
	v.layers.Register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if v.layers == (LayerOutputs{}) {
		return v, nil
	}
	return v, v.layers.Check()
}

func TestFlags(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want values
	}{
		{nil, values{}},
		{[]string{"--list=b", "--text=a=b", "--list=@a", "--switch=true"}, values{text: "a=b", list: []string{"b", "@a"}, flag: true}},
		{[]string{"--switch=false", "--text= "}, values{text: " "}},
		{[]string{"--output=a", "--digest-file=b", "--mtree=c"}, values{layers: LayerOutputs{Blob: "a", DigestFile: "b", Mtree: "c"}}},
	} {
		got, err := parse(tc.args...)
		if err != nil || !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%q: got %+v, %v; want %+v", tc.args, got, err, tc.want)
		}
	}
}

// Whatever is wrong with the arguments is told by the argument's name, and ends a program with its exit code for that.
func TestFlags_Errors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"text"}, `argument "text": want --name=value`},
		{[]string{"-text=a"}, `argument "-text=a": want --name=value`},
		{[]string{""}, `argument "": want --name=value`},
		{[]string{"--tex=a"}, "--tex: no such argument"},
		{[]string{"--"}, "--: no such argument"},
		{[]string{"--text"}, "--text: it takes a value: --text=…"},
		{[]string{"--list="}, "--list: it takes a value: --list=…"},
		{[]string{"--text=a", "--text=a"}, "--text: given twice"},
		{[]string{"--switch=1", "--switch=1"}, "--switch: given twice"},
		{[]string{"--switch=yes"}, `--switch: "yes": want true or false`},
		{[]string{"--odd=3"}, `--odd: "3": want an even number`},
		{[]string{"--output=a"}, "--digest-file is missing"},
		{[]string{"--digest-file=a"}, "--output is missing"},
		{[]string{"--output=a/b", "--digest-file=a//c/../b"}, "--output and --digest-file name the same file a/b"},
		{[]string{"--output=a", "--digest-file=b", "--mtree=./b"}, "--digest-file and --mtree name the same file b"},
	} {
		_, err := parse(tc.args...)
		var usage *UsageError
		if !errors.As(err, &usage) || err.Error() != tc.want {
			t.Errorf("%q: got %v (%T), want %s", tc.args, err, err, tc.want)
		}
	}
}
