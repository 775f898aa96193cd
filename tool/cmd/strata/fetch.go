package main

import (
	"github.com/spf13/pflag"

	"github.com/rules-strata/rules_strata/tool/fetch"
)

// fetchFlags are the flags of every command that fetches.
type fetchFlags struct {
	helpers []string
}

func (f *fetchFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.helpers, "credential-helper", nil, "a program that knows the credentials of hosts, `[PATTERN=]PATH` as Bazel's --credential_helper; "+
		"repeatable (before $"+fetch.HelperVariable+" and the netrc file)")
}

// client returns the client for what the flags and the environment say. Relative file: URLs are relative to dir.
func (f *fetchFlags) client(dir string) (*fetch.Client, error) {
	credentials, err := fetch.NewCredentials(f.helpers...)
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Options{Dir: dir, UserAgent: userAgent(), Credentials: credentials}), nil
}
