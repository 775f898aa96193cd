package registry

import (
	"context"
	"fmt"
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Netrc is what a netrc file says of a host, as tool/fetch reads it; "" if it says nothing.
type Netrc interface {
	Login(host string) (user, password string, err error)
}

// Keychain returns the credentials of the user's environment. The first of these that has some for a registry
// counts: the file that $REGISTRY_AUTH_FILE names (podman, skopeo), docker's config.json with its credential helpers,
// podman's auth.json, and the netrc.
func Keychain(n Netrc) authn.Keychain {
	return authn.NewMultiKeychain(authFile{}, authn.DefaultKeychain, netrcKeychain{n})
}

// authFile is $REGISTRY_AUTH_FILE. go-containerregistry reads it too, but only where there is no config.json.
type authFile struct{}

func (authFile) Resolve(target authn.Resource) (authn.Authenticator, error) {
	path := os.Getenv("REGISTRY_AUTH_FILE")
	if path == "" {
		return authn.Anonymous, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("$REGISTRY_AUTH_FILE: %w", err)
	}
	defer f.Close()
	c, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("$REGISTRY_AUTH_FILE: %s: %w", path, err)
	}
	// The most exact entry counts, as podman has it.
	for _, key := range []string{target.String(), registryKey(target)} {
		a, err := c.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("$REGISTRY_AUTH_FILE: %s: %w", path, err)
		}
		a.ServerAddress = "" // Set whether there is an entry or not.
		if a != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}

// registryKey is what such files call a registry: docker's by a name of old.
func registryKey(target authn.Resource) string {
	if host := target.RegistryStr(); host != name.DefaultRegistry {
		return host
	}
	return authn.DefaultAuthKey
}

type netrcKeychain struct{ Netrc }

func (k netrcKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

func (k netrcKeychain) ResolveContext(_ context.Context, target authn.Resource) (authn.Authenticator, error) {
	user, password, err := k.Login(target.RegistryStr())
	if err != nil || user == "" && password == "" {
		return authn.Anonymous, err
	}
	return &authn.Basic{Username: user, Password: password}, nil
}
