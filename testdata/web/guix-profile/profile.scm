;; What made the cache beside it, by Guix 1.5 over the store of ../guix/cache: a package whose files collide with those of strata-app, and a profile of both
;; by Guix' own (guix build profiles), as `guix package` makes it. `guix publish --compression=gzip:9` served it. Run: guix repl -- profile.scm
(use-modules (guix store) (guix derivations))
(define app "/gnu/store/w4qs8p8nwnldd2lx0dpigzlqsqk2m3s2-strata-app-1.0")
(define bb "/gnu/store/wa89lqm0jhq9ddlqvspp0y2wa045sb4a-busybox-static-1.35.0")
(with-store s
  (set-build-options s #:use-substitutes? #f #:offload? #f #:substitute-urls '())
  (let* ((busybox (string-append bb "/bin/busybox"))
         (script (add-text-to-store s "build-other.sh" (string-append
            "set -e\n$bb mkdir -p $out/bin $out/etc $out/share/other $out/share/empty\n"
            "printf '#!" bb "/bin/sh\\necho other says hello\\n' > $out/bin/hello\n"
            "printf '#!" bb "/bin/sh\\necho other finds ${OTHER_PATH:-nothing}\\n' > $out/bin/other\n"
            "$bb chmod 755 $out/bin/hello $out/bin/other\n"
            "echo note > $out/share/other/note\necho kept > $out/share/empty/kept\necho conf > $out/etc/other.conf\n") (list bb)))
         (drv (derivation s "strata-other-2.0" busybox (list "sh" "-e" script)
                 #:env-vars `(("bb" . ,busybox) ("HOME" . "/homeless"))
                 #:sources (list bb script) #:system "x86_64-linux"))
         (other (derivation->output-path drv)))
    (build-derivations s (list drv))
    (let* ((manifest `(manifest (version 4) (packages
              (("strata-app" "1.0" "out" ,app (propagated-inputs ()) (search-paths ()))
               ("strata-other" "2.0" "out" ,other (propagated-inputs ())
                 (search-paths (("OTHER_PATH" ("share/other") ":" directory #f))))))))
           (builder (add-text-to-store s "profile-builder" (format #f
              "(use-modules (guix build profiles))~%(build-profile (getenv \"out\") '~s)~%" manifest) (list app other)))
           (guile (add-to-store s "guile-3.0" #t "sha256" "/usr/lib/x86_64-linux-gnu/guile/3.0/bin/guile"))
           (pdrv (derivation s "profile" guile (list "--no-auto-compile" builder)
              #:env-vars `(("HOME" . "/homeless")
                 ("GUILE_LOAD_PATH" . "/usr/share/guile/site/3.0")
                 ("GUILE_LOAD_COMPILED_PATH" . "/usr/lib/x86_64-linux-gnu/guile/3.0/site-ccache"))
              #:sources (list app other builder guile) #:system "x86_64-linux")))
      (build-derivations s (list pdrv))
      (format #t "~a~%~a~%" (derivation->output-path pdrv) other))))
